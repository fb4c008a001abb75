//! `usersync config`: the configuration file.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Context,
    exit::{Exit, Outcome},
    words::count,
};
use crate::config::{EXAMPLE, find, full_example, reference, reference_markdown};

/// Check the configuration file, show an example and all keys
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usersync config example > usersync.toml
  usersync config check
  usersync config path
  usersync config reference > keys.md")]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the file and report all errors, with line and column
    #[command(after_help = "Example:\n  usersync config check --config /etc/usersync/usersync.toml")]
    Check,
    /// Print a complete configuration to fill in
    #[command(after_help = "\
Examples:
  usersync config example > usersync.toml
  usersync config example --full > usersync.toml")]
    Example {
        /// With the meaning of every key
        #[arg(long)]
        full: bool,
    },
    /// Print the path of the configuration file in use
    #[command(after_help = "Example:\n  usersync config path")]
    Path,
    /// Print all keys with their defaults, as Markdown or JSON
    #[command(after_help = "Example:\n  usersync config reference --json")]
    Reference,
}

impl ConfigArgs {
    #[allow(clippy::needless_pass_by_value, reason = "as all commands")]
    pub fn run(self, context: &Context) -> Outcome {
        let out = &context.out;
        match self.command {
            Command::Check => return check(context),
            Command::Example { full } => {
                context
                    .refuse_json("config example", "the example is TOML; for all keys: usersync config reference")?;
                let example = if full { full_example() } else { EXAMPLE.trim_end().to_owned() };
                out.lines(example.lines());
            }
            Command::Path => {
                let path = find(context.reported.as_deref(), &context.env).map_err(|errors| context.wrong(&errors))?;
                if out.json {
                    out.document(&json!({ "path": path, "exists": path.exists() }));
                } else {
                    out.line(path.display());
                }
            }
            Command::Reference if out.json => {
                let rows = reference().into_iter().map(|row| {
                    json!({
                        "section": row.section, "key": row.key, "kind": row.kind, "default": row.default,
                        "meaning": row.meaning, "variable": row.variable,
                    })
                });
                out.document(&json!({ "keys": rows.collect::<Vec<_>>() }));
            }
            Command::Reference => out.lines(reference_markdown().trim_end().lines()),
        }
        Ok(Exit::Done)
    }
}

fn check(context: &Context) -> Outcome {
    let config = context.config()?;
    let out = &context.out;
    if out.json {
        let warnings = config.warnings.iter().map(|warning| {
            let (line, column) = warning.position().unzip();
            json!({ "line": line, "column": column, "message": warning.message(), "advice": warning.advice() })
        });
        out.document(&json!({
            "path": config.path,
            "connectors": config.connectors.iter().map(|one| &one.name).collect::<Vec<_>>(),
            "targets": config.targets.iter().map(|one| &one.name).collect::<Vec<_>>(),
            "warnings": warnings.collect::<Vec<_>>(),
        }));
        return Ok(Exit::Done);
    }
    for warning in &config.warnings {
        out.drawn(warning.render(context.drawing()));
    }
    out.say(format!(
        "{}: valid: {}, {}, {}. Check sources and targets: usersync check",
        config.path.display(),
        count(config.connectors.len(), "connector", "connectors"),
        count(config.targets.len(), "target", "targets"),
        count(config.warnings.len(), "warning", "warnings"),
    ));
    Ok(Exit::Done)
}
