//! All direct memberships from one answer, a stream of XML:
//!
//! ```xml
//! <memberships>
//!   <membership group="dev">
//!     <users><user name="ada"/></users>
//!     <groups><group name="dev-ops"/></groups>
//!   </membership>
//! </memberships>
//! ```
//!
//! The answer is read element by element and used only if it is complete. A member missing from a truncated answer
//! would look like a removed member. Unknown elements are skipped. Only the entities of XML itself are supported; a
//! document that declares its own is refused.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use quick_xml::{
    XmlVersion,
    events::{BytesDecl, BytesStart, Event},
    reader::Reader,
};

use super::CrowdTarget;
use crate::{
    model::{ErrorClass, TargetGroupId},
    targets::{Memberships, TargetError, TargetErrorKind, rest::Ask},
};

/// Reason why an answer cannot be used, without any of its content.
type Unfit = &'static str;

const BROKEN: Unfit = "truncated, or not XML";
const SHAPE: Unfit = "unexpected structure";

impl CrowdTarget {
    /// Reads the direct members of these groups with one call. `None`: this Crowd has no such call (404 of old
    /// versions), forbids it, or returns an unusable or too large answer.
    pub(super) async fn all_memberships(
        &self,
        groups: &BTreeSet<TargetGroupId>,
    ) -> Result<Option<Memberships>, TargetError> {
        let ask = Ask::get("/group/membership", "reading all memberships").accept("application/xml");
        let reported = match self.rest.ask(&ask).await {
            Ok(answer) if answer.status.is_success() => {
                read(&answer.body, groups).map_err(|how| format!("{}: Crowd's answer is not used ({how})", ask.what))
            }
            Ok(answer) => Err(format!("{}: Crowd answered {}", ask.what, answer.status.as_u16())),
            Err(TargetError { kind: TargetErrorKind::NotDone(ErrorClass::Unconfirmed), text, .. }) => Err(text),
            Err(error) => return Err(error),
        };
        match reported {
            Ok(reported) => Ok(Some(reported)),
            Err(why) => {
                tracing::info!("{}; members are read group by group", why.trim_end_matches('.'));
                Ok(None)
            }
        }
    }
}

/// Position of the reader in the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Beginning,
    Memberships,
    Membership,
    Users,
    End,
}

/// Reads a complete answer and keeps the members of the wanted groups.
fn read(body: &[u8], wanted: &BTreeSet<TargetGroupId>) -> Result<Memberships, Unfit> {
    let mut reader = Reader::from_reader(body);
    reader.config_mut().expand_empty_elements = true;
    let mut at = At::Beginning;
    let mut reported = ParsedMemberships::default();
    loop {
        match reader.read_event().map_err(|_| BROKEN)? {
            Event::Start(element) => match (at, element.local_name().as_ref()) {
                (At::Beginning, "memberships") => at = At::Memberships,
                (At::Memberships, "membership") => {
                    // Crowd compares names case-insensitively; spaces count, as they do when a single group is read.
                    let name = TargetGroupId::from(attribute(&element, "group")?.to_lowercase());
                    reported.open(wanted.get(&name));
                    at = At::Membership;
                }
                (At::Membership, "users") => at = At::Users,
                (At::Users, "user") => {
                    reported.add(&attribute(&element, "name")?);
                    pass_over(&mut reader, &element)?;
                }
                (At::Beginning | At::End, _) => return Err(SHAPE),
                _ => pass_over(&mut reader, &element)?,
            },
            Event::End(_) => {
                at = match at {
                    At::Users => At::Membership,
                    At::Membership => {
                        reported.close();
                        At::Memberships
                    }
                    _ => At::End,
                }
            }
            Event::Eof if at == At::End => return Ok(reported.whole()),
            Event::Eof => return Err(BROKEN),
            Event::DocType(_) => return Err("it contains a document type"),
            Event::Decl(declared) if !is_utf8(&declared) => return Err("it is not in UTF-8"),
            Event::Text(text) if matches!(at, At::Beginning | At::End) && !text.trim_ascii().is_empty() => {
                return Err(BROKEN);
            }
            _ => {}
        }
    }
}

/// Skips to the end of an element.
fn pass_over(reader: &mut Reader<&[u8]>, element: &BytesStart<'_>) -> Result<(), Unfit> {
    reader.read_to_end(element.name()).map(|_| ()).map_err(|_| BROKEN)
}

/// Returns the value of a required attribute.
fn attribute<'e>(element: &'e BytesStart<'_>, name: &str) -> Result<Cow<'e, str>, Unfit> {
    let found = element.try_get_attribute(name).map_err(|_| BROKEN)?.ok_or(SHAPE)?;
    let value = found.normalized_value(XmlVersion::Implicit1_0).map_err(|_| BROKEN)?;
    if value.is_empty() { Err(SHAPE) } else { Ok(value) }
}

/// Whether a document is in UTF-8, the only supported encoding.
fn is_utf8(declared: &BytesDecl<'_>) -> bool {
    declared.encoding().is_none_or(|name| name.is_ok_and(|name| name.eq_ignore_ascii_case("utf-8")))
}

/// Memberships read so far.
#[derive(Default)]
struct ParsedMemberships {
    /// The members of each wanted group; `None` if it appears twice, so that neither list is complete.
    groups: BTreeMap<TargetGroupId, Option<Vec<Arc<str>>>>,
    /// The current group, if it is wanted, and its members so far.
    open: Option<(TargetGroupId, Vec<Arc<str>>)>,
    /// Each login once, shared by all groups that contain it.
    logins: HashSet<Arc<str>>,
}

impl ParsedMemberships {
    fn open(&mut self, group: Option<&TargetGroupId>) {
        self.open = group.map(|group| (group.clone(), Vec::new()));
    }

    fn add(&mut self, login: &str) {
        let Some((_, members)) = &mut self.open else { return };
        let login = self.logins.get(login).cloned().unwrap_or_else(|| {
            let login: Arc<str> = login.into();
            self.logins.insert(Arc::clone(&login));
            login
        });
        members.push(login);
    }

    fn close(&mut self) {
        let Some((group, members)) = self.open.take() else { return };
        self.groups.entry(group).and_modify(|reported| *reported = None).or_insert(Some(members));
    }

    fn whole(self) -> Memberships {
        let once = self.groups.into_iter().filter_map(|(group, members)| Some((group, members?)));
        Memberships { logins: once.collect(), ..Memberships::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "<?xml version='1.0' encoding='UTF-8' standalone='yes'?>\n<memberships><membership group='Dev'>\
        <users><user name='ada'/><user name='Bob'></user></users><groups><group name='ops'/></groups></membership>\
        <membership group='empty'><users/><groups/></membership>\
        <membership group='other'><users><user name='eve'/></users></membership></memberships>\n";

    fn reported(text: &str) -> Result<Vec<(String, Vec<String>)>, Unfit> {
        let wanted = ["dev", "empty", "absent"].map(TargetGroupId::from).into();
        let reported = read(text.as_bytes(), &wanted)?.logins.into_iter();
        Ok(reported.map(|(group, all)| (group.to_string(), all.iter().map(ToString::to_string).collect())).collect())
    }

    fn dev(members: &[&str]) -> Vec<(String, Vec<String>)> {
        vec![("dev".to_owned(), members.iter().map(ToString::to_string).collect())]
    }

    #[test]
    fn only_wanted_groups_and_only_users_are_told() {
        let mut whole = dev(&["ada", "Bob"]);
        whole.push(("empty".to_owned(), Vec::new()));
        assert_eq!(reported(WHOLE), Ok(whole));
        assert_eq!(reported("<memberships/>"), Ok(Vec::new()));
    }

    #[test]
    fn an_answer_that_ends_anywhere_before_its_end_is_none() {
        let end = WHOLE.trim_end().len();
        for length in 0..end {
            assert_eq!(reported(&WHOLE[..length]), Err(BROKEN), "{length}: {}", &WHOLE[..length]);
        }
        assert!(reported(&WHOLE[..end]).is_ok());
    }

    #[test]
    fn names_come_through_exactly() {
        for (written, name) in [
            ("R&amp;D &lt;1&gt; &quot;x&quot; &apos;y&apos;", "R&D <1> \"x\" 'y'"),
            (" spaced ", " spaced "),
            ("Größe/EMEA+100% \u{1F600}", "Größe/EMEA+100% \u{1F600}"),
            ("&#252;&#xFC;&#x1F600;&#10;", "üü\u{1F600}\n"),
            ("&amp;amp;", "&amp;"),
            ("a%2Fb\"c", "a%2Fb\"c"),
        ] {
            let written = written.replace('\'', "&apos;");
            let text = format!(
                "<memberships><membership group='dev'><users><user name='{written}'/></users></membership></memberships>"
            );
            assert_eq!(reported(&text), Ok(dev(&[name])), "{written}");
        }
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let text = "<m:memberships xmlns:m='x' more='1'><!-- <users> --><?pi?><summary><users><user name='no'/></users>\
            </summary>words<m:membership link='y' group='DEV'><users expand='user'><user more='z' name='ada'><user name='no'/>\
            <key>1</key></user><robot name='no'/><![CDATA[<user name='no'/>]]></users><users-too><user name='no'/></users-too>\
            <groups><group name='no'><users><user name='no'/></users></group></groups></m:membership></m:memberships><!-- -->";
        assert_eq!(reported(text), Ok(dev(&["ada"])));
    }

    #[test]
    fn a_group_that_comes_twice_is_not_told() {
        let once = "<membership group='dev'><users><user name='ada'/></users></membership>";
        assert_eq!(
            reported(&format!("<memberships>{once}{}</memberships>", once.replace("dev", "DEV"))),
            Ok(Vec::new())
        );
        assert_eq!(
            reported(&format!("<memberships>{}{once}</memberships>", once.replace("dev", " dev"))),
            Ok(dev(&["ada"]))
        );
    }

    #[test]
    fn anything_else_is_not_used() {
        let user = |attributes: &str| {
            format!(
                "<memberships><membership group='dev'><users><user {attributes}/></users></membership></memberships>"
            )
        };
        let document = |start: &str| format!("{start}{}", user("name='ada'"));
        for (text, why) in [
            (String::new(), BROKEN),
            ("{\"users\": []}".to_owned(), BROKEN),
            ("<html><body>Welcome<br></body></html>".to_owned(), SHAPE),
            ("<error><reason>X</reason></error>".to_owned(), SHAPE),
            (user("login='ada'"), SHAPE),
            (user("name=''"), SHAPE),
            (user("name='&nbsp;'"), BROKEN),
            (user("name='a&b'"), BROKEN),
            (user("name='&#0;'"), BROKEN),
            ("<memberships><membership><users/></membership></memberships>".to_owned(), SHAPE),
            ("<memberships><membership group='dev'></memberships>".to_owned(), BROKEN),
            (document("<memberships/>"), SHAPE),
            (document("words"), BROKEN),
            (format!("{}words", document("")), BROKEN),
            (document("<!DOCTYPE memberships [<!ENTITY a 'b'>]>"), "it contains a document type"),
            (document("<?xml version='1.0' encoding='ISO-8859-1'?>"), "it is not in UTF-8"),
        ] {
            assert_eq!(reported(&text), Err(why), "{text}");
        }
        let latin =
            b"<memberships><membership group='dev'><users><user name='\xfc'/></users></membership></memberships>";
        assert_eq!(read(latin, &BTreeSet::new()), Err(BROKEN));
    }
}
