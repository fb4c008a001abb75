//! No input makes the parser panic or reveals a secret.

use std::path::Path;

use proptest::prelude::*;
use usersync::config::{Config, Drawing, Env, Schedule};

use super::{at, berlin};

/// Generates pieces of a configuration in any order, with arbitrary text between.
fn tomlish() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "[server]",
        "[[target]]",
        "[[connector]]",
        "[connector.policy]",
        "[server.tls]",
        "[",
        "]",
        "=",
        "\n",
        "\"",
        "'''",
        "\"\"\"",
        "name",
        "token",
        "token_env",
        "schedule",
        "targets",
        "policy",
        "safety",
        "hook_secret",
        "listen",
        "url",
        "url = \"https://é@x\"",
        "name = \"ä\"",
        "targets = [\"ä\", 1]",
        "policy.safety.count = -1",
        "schedule = \"0 0 0 L * ?\"",
        "time_zone = \"X/Y\"",
        "retention = \"9999999999d\"",
        "body_limit = \"99999999999999999999 GiB\"",
        "{",
        "}",
        ",",
        "# é",
        "\r\n",
        "0x",
        "1e400",
        "nan",
    ]);
    prop::collection::vec(prop_oneof![4 => word.prop_map(str::to_owned), 1 => ".{0,8}"], 0..40)
        .prop_map(|parts| parts.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_input_makes_the_parser_panic(text in prop_oneof![tomlish(), ".*", tomlish().prop_map(|text| text.replace(' ', "\n"))]) {
        let parsed = Config::parse(&text, Path::new("usersync.toml"), &Env::of([("A", "b")]), at("2026-07-01T00:00:00Z"));
        if let Err(errors) = parsed {
            prop_assert!(!errors.problems().is_empty());
            prop_assert!(!errors.to_string().is_empty());
            let drawn = errors.render(Drawing::Terminal { colour: true });
            prop_assert!(!drawn.is_empty());
        }
    }

    #[test]
    fn no_surrounding_text_reveals_a_secret(before in tomlish(), after in tomlish()) {
        let text = format!("{before}\ntoken = \"hunter2-hunter2\"\n{after}");
        let parsed = Config::parse(&text, Path::new("usersync.toml"), &Env::of([("A", "b")]), at("2026-07-01T00:00:00Z"));
        if let Err(errors) = parsed {
            let shown = format!("{errors}{}", errors.render(Drawing::Terminal { colour: false }));
            prop_assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn no_expression_makes_the_schedule_panic(text in prop_oneof!["[0-9*?/,#LW-]{1,4}( [0-9*?/,#LWA-Z-]{1,4}){4,6}", ".*"]) {
        let now = at("2026-07-01T00:00:00Z");
        if let Ok(schedule) = Schedule::parse(&text, berlin(), now) {
            let next = schedule.next_n(now, 3);
            prop_assert!(next.iter().all(|time| *time > now));
            prop_assert!(next.is_sorted());
        }
    }
}
