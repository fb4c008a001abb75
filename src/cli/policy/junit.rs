//! Writes results of tests in the XML form of `JUnit`, which build servers display.

use std::io;

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::{Kind, Tested};
use crate::{model::ConnectorName, telemetry::escape};

/// Returns the report: a suite for each connector, a case for each test.
pub(super) fn report(tests: &[Tested], file: &str) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let mut connectors: Vec<&ConnectorName> = tests.iter().map(|test| &test.connector).collect();
    connectors.dedup();
    let suites =
        writer.create_element("testsuites").with_attributes(totals("usersync policy test", tests.iter()).borrow());
    suites.write_inner_content(|writer| {
        for connector in connectors {
            let own = || tests.iter().filter(|test| test.connector == *connector);
            let suite = writer.create_element("testsuite").with_attributes(totals(connector.as_str(), own()).borrow());
            suite.write_inner_content(|writer| own().try_for_each(|test| case(writer, test, file)))?;
        }
        Ok(())
    })?;
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

/// The attributes of a suite.
struct Totals([(&'static str, String); 5]);

impl Totals {
    fn borrow(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

fn totals<'t>(name: &str, tests: impl Iterator<Item = &'t Tested>) -> Totals {
    let (passed, failed): (Vec<_>, Vec<_>) = tests.partition(|test| test.passed);
    Totals([
        ("name", name.to_owned()),
        ("tests", (passed.len() + failed.len()).to_string()),
        ("failures", failed.len().to_string()),
        ("errors", "0".to_owned()),
        ("skipped", "0".to_owned()),
    ])
}

fn case(writer: &mut Writer<Vec<u8>>, test: &Tested, file: &str) -> io::Result<()> {
    let kind = match test.kind {
        Kind::Group => "group_test",
        Kind::User => "user_test",
    };
    let class = format!("{}.{kind}", test.connector);
    // XML has no form for control characters, not even an escaped one.
    let (name, file, line) = (escape::text(&test.name), escape::text(file), test.line.to_string());
    let element = writer.create_element("testcase").with_attributes([
        ("name", name.as_ref()),
        ("classname", class.as_str()),
        ("file", file.as_ref()),
        ("line", line.as_str()),
    ]);
    if test.passed {
        element.write_empty()?;
        return Ok(());
    }
    let texts: Vec<String> = test.failures.iter().map(|failure| escape::text(&failure.text()).into_owned()).collect();
    element.write_inner_content(|writer| {
        let failure = writer
            .create_element("failure")
            .with_attributes([("message", texts.first().map_or("", String::as_str)), ("type", "mismatch")]);
        failure.write_text_content(BytesText::new(&texts.join("\n")))?;
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::policy::TestFailure, policy::Mismatch};

    #[test]
    fn names_and_values_of_others_are_escaped() {
        let mismatch = |about: &str, actual: &str| TestFailure {
            mismatch: Mismatch {
                about: about.to_owned(),
                expected: "\"a\"".to_owned(),
                actual: actual.to_owned(),
                why: None,
            },
            targets: vec!["jira".into()],
        };
        let test = |name: &str, failures: Vec<TestFailure>| Tested {
            connector: "acme".into(),
            kind: Kind::User,
            name: name.to_owned(),
            line: 7,
            passed: failures.is_empty(),
            failures,
        };
        let tests = [
            test("R&D <b>\"it\"</b>\u{1b}[2J", Vec::new()),
            test("two", vec![mismatch("login", "\"<&>\""), mismatch("e-mail", "none")]),
        ];
        let text = String::from_utf8(report(&tests, "usersync.toml").unwrap()).unwrap();
        assert_eq!(
            text,
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="usersync policy test" tests="2" failures="1" errors="0" skipped="0">
  <testsuite name="acme" tests="2" failures="1" errors="0" skipped="0">
    <testcase name="R&amp;D &lt;b&gt;&quot;it&quot;&lt;/b&gt;\u{1b}[2J" classname="acme.user_test" file="usersync.toml" line="7"/>
    <testcase name="two" classname="acme.user_test" file="usersync.toml" line="7">
      <failure message="login in jira: expected &quot;a&quot;, actual &quot;&lt;&amp;&gt;&quot;" type="mismatch">login in jira: expected &quot;a&quot;, actual &quot;&lt;&amp;&gt;&quot;
e-mail in jira: expected &quot;a&quot;, actual none</failure>
    </testcase>
  </testsuite>
</testsuites>
"#
        );
    }

    #[test]
    fn without_tests_the_report_is_empty() {
        let text = String::from_utf8(report(&[], "usersync.toml").unwrap()).unwrap();
        assert!(text.contains("<testsuites name=\"usersync policy test\" tests=\"0\" failures=\"0\""), "{text}");
    }
}
