//! Reads the parsed file and collects all errors instead of stopping at the first.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Env, Problem, Secret,
    keys::{self, Fallback, Key},
    mask::is_variable_name,
    problem::{Place, Shown},
    suggest::did_you_mean,
    values::{self, Read, Wrong, kind_of, quoted},
};

use usersync_clients::secret::in_words;

/// The state that all sections share.
pub(super) struct Reader<'a> {
    pub env: &'a Env,
    pub now: Timestamp,
    shown: Shown,
    /// The base folder of relative paths.
    folder: PathBuf,
    /// Whether files and variables with secrets and certificates must exist.
    pub checks_files: bool,
    errors: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

/// A table of the file, or a missing table, which has only defaults.
pub(super) struct Table<'a> {
    pub reader: &'a Reader<'a>,
    /// The path as in the list of keys, such as `connector.policy`.
    path: &'static str,
    /// The name used in messages, such as `target jira-prod`; empty if the place is sufficient.
    who: String,
    content: Option<&'a DeTable<'a>>,
    place: Place,
}

impl<'a> Reader<'a> {
    pub fn new(path: &Path, shown: Shown, env: &'a Env, now: Timestamp) -> Self {
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let (errors, warnings) = Default::default();
        Self { env, now, shown, folder, checks_files: true, errors, warnings }
    }

    /// Accepts secrets and certificates without reading them.
    pub fn without_files(self) -> Self {
        Self { checks_files: false, ..self }
    }

    pub fn error(&self, place: Place, message: impl Into<String>, help: Option<String>) {
        self.errors.borrow_mut().push(Problem::new(&self.shown, place, message, help));
    }

    pub fn warn(&self, place: Place, message: impl Into<String>, help: Option<String>) {
        self.warnings.borrow_mut().push(Problem::new(&self.shown, place, message, help).into_warning());
    }

    /// Returns the line of a place in the file, from 1; 0: it is not in the file.
    pub fn line(&self, place: Place) -> usize {
        Problem::new(&self.shown, place, "", None).position().map_or(0, |(line, _)| line)
    }

    /// Returns the errors that were recorded since the last call.
    pub fn take_errors(&self) -> Vec<Problem> {
        self.errors.take()
    }

    /// Returns errors and warnings, each in the order of the file.
    pub fn into_problems(self) -> (Vec<Problem>, Vec<Problem>) {
        let sorted = |problems: RefCell<Vec<Problem>>| {
            let mut problems = problems.into_inner();
            problems.sort_by_key(Problem::order);
            problems
        };
        (sorted(self.errors), sorted(self.warnings))
    }

    /// Returns the whole file as a table.
    pub fn root(&'a self, content: &'a DeTable<'a>) -> Table<'a> {
        let table = Table { reader: self, path: "", who: String::new(), content: Some(content), place: Place::File };
        table.refuse_unknown_keys();
        table
    }

    fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

impl<'a> Table<'a> {
    /// Returns a section that occurs once, `[name]`; a missing section has all defaults.
    pub fn section(&self, path: &'static str) -> Table<'a> {
        let (content, place) = match self.raw(path.rsplit('.').next().unwrap_or(path)) {
            None => (None, self.place.clone()),
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => (Some(table), Place::Span(value.span())),
                other => {
                    let help = Some(format!("write it as {}", keys::heading(path)));
                    self.reader.error(
                        Place::Span(value.span()),
                        format!("{path}: this is {}, but a table is expected", kind_of(other)),
                        help,
                    );
                    (None, self.place.clone())
                }
            },
        };
        let table = Table { reader: self.reader, path, who: self.who.clone(), content, place };
        table.refuse_unknown_keys();
        table
    }

    /// Returns the sections of an array of tables, `[[name]]`.
    pub fn each(&self, path: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.raw(path) else { return Vec::new() };
        let help = || Some(format!("write [[{path}]] above each"));
        let DeValue::Array(items) = value.get_ref() else {
            let message = format!("{path}: this is {}, but a list of tables is expected", kind_of(value.get_ref()));
            self.reader.error(Place::Span(value.span()), message, help());
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let place = Place::Span(item.span());
            let DeValue::Table(content) = item.get_ref() else {
                let message = format!("{path}: this is {}, but a table is expected", kind_of(item.get_ref()));
                self.reader.error(place, message, help());
                continue;
            };
            let who = match content.get("name").map(Spanned::get_ref) {
                Some(DeValue::String(name)) => format!("{path} {}", quoted(name).trim_matches('`')),
                _ => format!("{path} {}", index + 1),
            };
            let table = Table { reader: self.reader, path, who, content: Some(content), place };
            table.refuse_unknown_keys();
            tables.push(table);
        }
        tables
    }

    /// Whether the section is set, in the file or by a variable.
    pub fn is_written(&self) -> bool {
        let of_section = keys::KEYS.iter().filter(|key| key.section() == self.path);
        self.content.is_some() || of_section.filter_map(Key::variable).any(|name| self.reader.env.get(&name).is_some())
    }

    /// Whether a key is set, in the file or by a variable.
    pub fn has(&self, name: &'static str) -> bool {
        self.override_of(name).is_some() || self.raw(name).is_some()
    }

    /// Returns a key's value or default; `None` if there is neither, or if the value is invalid, which is recorded.
    pub fn read<T>(&self, name: &'static str, as_what: impl FnOnce(&DeValue<'_>) -> Read<T>) -> Option<T> {
        let (value, place) = self.value(name)?;
        as_what(&value).map_err(|wrong| self.wrong(name, place, wrong)).ok()
    }

    /// Returns the values of a list, each with its place.
    pub fn list<T>(&self, name: &'static str, as_what: impl Fn(&DeValue<'_>) -> Read<T>) -> Option<Vec<(T, Place)>> {
        let (value, place) = self.value(name)?;
        let DeValue::Array(items) = value.as_ref() else {
            let help = format!("write it in brackets: {name} = [\"…\"]");
            let message = format!("this is {}, but a list is expected", kind_of(&value));
            self.wrong(name, place, Wrong::new(message).help(help));
            return None;
        };
        let read = |item: &Spanned<DeValue<'_>>| {
            let place = if matches!(place, Place::Span(_)) { Place::Span(item.span()) } else { place.clone() };
            match as_what(item.get_ref()) {
                Ok(read) => Some((read, place)),
                Err(wrong) => {
                    self.wrong(name, place, wrong);
                    None
                }
            }
        };
        Some(items.iter().filter_map(read).collect())
    }

    /// Returns a path. A relative path starts at the file's folder, or, in a variable, at the working directory.
    pub fn path(&self, name: &'static str) -> Option<PathBuf> {
        let text = self.read(name, values::string)?;
        Some(if self.override_of(name).is_some() { PathBuf::from(text) } else { self.reader.resolve(&text) })
    }

    /// Returns the path of a file, which must be readable.
    pub fn file(&self, name: &'static str) -> Option<PathBuf> {
        let path = self.path(name)?;
        if self.reader.checks_files
            && let Err(error) = std::fs::File::open(&path)
        {
            let wrong = Wrong::new(format!("file {} cannot be read: {}", path.display(), in_words(&error)));
            self.wrong(name, self.place_of(name), wrong.help(self.path_help()));
            return None;
        }
        Some(path)
    }

    /// Returns a secret in one of its three forms, `name`, `name_file` and `name_env`; reads it once to check it.
    pub fn secret(&self, forms: [&'static str; 3]) -> Option<(Secret, Place)> {
        let [inline, file, variable] = forms;
        let written: Vec<&'static str> = forms.into_iter().filter(|form| self.raw(form).is_some()).collect();
        if let [first, second, ..] = written[..] {
            let wrong = Wrong::new(format!("the secret is also set in `{first}`")).help("remove one of the two");
            self.wrong(second, self.place_of(second), wrong);
        }
        // All forms are read, so that errors in any of them are reported.
        let found = [
            self.read(inline, |value| values::text(value).map(Secret::inline)),
            self.path(file).map(Secret::file),
            self.read(variable, |value| self.variable(value)),
        ];
        let (form, secret) = forms.into_iter().zip(found).find_map(|(form, secret)| Some((form, secret?)))?;
        let place = self.place_of(form);
        if (self.reader.checks_files || form == inline)
            && let Err(error) = secret.read()
        {
            let help = if form == file { self.path_help() } else { "set it in the environment of usersync".to_owned() };
            let wrong = Wrong::new(error.to_string());
            self.wrong(form, place, if form == inline { wrong } else { wrong.help(help) });
            return None;
        }
        Some((secret, place))
    }

    /// Returns the location of a secret, whether the secret exists or not.
    pub fn secret_place(&self, [inline, file, variable]: [&'static str; 3]) -> Option<Secret> {
        self.read(inline, |value| values::text(value).map(Secret::inline))
            .or_else(|| self.path(file).map(Secret::file))
            .or_else(|| self.read(variable, |value| self.variable(value)))
    }

    fn path_help(&self) -> String {
        let folder = self.reader.resolve("");
        let folder = if folder.as_os_str().is_empty() { ".".to_owned() } else { folder.display().to_string() };
        format!("relative paths start at {folder}")
    }

    fn variable(&self, value: &DeValue<'_>) -> Read<Secret> {
        let name = values::text(value)?;
        if is_variable_name(name) {
            Ok(Secret::variable(name, self.reader.env.clone()))
        } else {
            // The value is not repeated: it may be the secret itself.
            let help = "write the variable's name, of A to Z, 0 to 9 and _, without a $";
            Err(Wrong::new("this is not the name of an environment variable").help(help))
        }
    }

    /// Returns a raw value of the file, for specialized readers.
    pub fn raw(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.content?.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
    }

    /// Whether the value is an empty list.
    pub fn is_empty_list(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|value| matches!(value.get_ref(), DeValue::Array(items) if items.is_empty()))
    }

    /// Returns the place of a key's value; that of the table if the key is not set.
    pub fn place_of(&self, name: &'static str) -> Place {
        match (self.override_of(name), self.raw(name)) {
            (Some((variable, _)), _) => Place::Variable(variable),
            (None, Some(value)) => Place::Span(value.span()),
            (None, None) => self.place.clone(),
        }
    }

    /// Records an invalid value.
    pub fn wrong(&self, name: &str, place: Place, wrong: Wrong) {
        let who = if self.who.is_empty() { String::new() } else { format!("{}: ", self.who) };
        self.reader.error(place, format!("{who}{name}: {}", wrong.message), wrong.help);
    }

    /// Records something that is missing from the table.
    pub fn missing(&self, what: &str, help: Option<String>) {
        let who = if self.who.is_empty() { keys::heading(self.path) } else { self.who.clone() };
        self.reader.error(self.place.clone(), format!("{who}: {what} is missing"), help);
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        let key = keys::find(&path);
        debug_assert!(key.is_some(), "{path} is not in the list of keys");
        key
    }

    fn override_of(&self, name: &str) -> Option<(String, String)> {
        let variable = self.key(name)?.variable()?;
        self.reader.env.get(&variable).map(|value| (variable, value))
    }

    fn value(&self, name: &'static str) -> Option<(Cow<'a, DeValue<'a>>, Place)> {
        if let Some((variable, text)) = self.override_of(name) {
            let value = match text.as_str() {
                "true" => DeValue::Boolean(true),
                "false" => DeValue::Boolean(false),
                _ => DeValue::String(Cow::Owned(text)),
            };
            return Some((Cow::Owned(value), Place::Variable(variable)));
        }
        if let Some(value) = self.raw(name) {
            return Some((Cow::Borrowed(value.get_ref()), Place::Span(value.span())));
        }
        let key = self.key(name)?;
        match key.fallback {
            Fallback::Value(toml) => Some((Cow::Owned(DeValue::parse(toml).ok()?.into_inner()), self.place.clone())),
            Fallback::Required => {
                self.missing(&format!("`{name}`"), Some(format!("add {name} = … ({}): {}", key.kind, key.meaning)));
                None
            }
            Fallback::Absent | Fallback::Words(_) => None,
        }
    }

    fn refuse_unknown_keys(&self) {
        let known = keys::names_in(self.path);
        let unique: BTreeSet<&str> = known.iter().copied().collect();
        for (key, _) in self.content.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if !unique.contains(name) {
                let help = did_you_mean(name, unique.iter().copied())
                    .or_else(|| self.elsewhere(name))
                    .unwrap_or_else(|| format!("known here: {}", known.join(", ")));
                let where_to =
                    if self.path.is_empty() { String::new() } else { format!(" in {}", keys::heading(self.path)) };
                self.reader.error(
                    Place::Span(key.span()),
                    format!("unknown key {}{where_to}", quoted(name)),
                    Some(help),
                );
            }
        }
    }

    /// Returns a hint if a key of that name belongs in another section.
    fn elsewhere(&self, name: &str) -> Option<String> {
        let key = keys::KEYS.iter().find(|key| key.name() == name && key.section() != self.path)?;
        Some(format!("`{name}` belongs in {}", keys::heading(key.section())))
    }
}
