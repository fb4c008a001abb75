//! The alerting rules and the dashboard in `deploy/` fit the metrics of the built binary.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use regex::Regex;
use serde_json::Value;
use usersync::demo::stack::CONNECTOR;
use usersync_simulators::keycloak::NewUser;

use crate::cli::served::{STEP_TIMEOUT, Served};

/// Suffixes of the series of a counter or histogram.
const SUFFIXES: &[&str] = &["_total", "_bucket", "_sum", "_count"];
/// Labels that Prometheus or the encoding adds.
const ADDED: &[&str] = &["job", "instance", "le", "alertname", "alertstate"];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern")
}

/// Returns the named metrics of an expression, each with the names of its labels.
fn named(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let metric = pattern(r"\b(usersync_[a-z_]+)(?:\{([^}]*)\})?");
    let label = pattern(r#"([a-z_]+) ?(?:=~|!~|!=|=) ?""#);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in metric.captures_iter(text) {
        let labels = one.get(2).map_or("", |labels| labels.as_str());
        let labels = label.captures_iter(labels).map(|label| label[1].to_owned());
        found.entry(one[1].to_owned()).or_default().extend(labels);
    }
    found
}

/// Returns the dashboard, and its panels.
fn dashboard() -> (Value, Vec<Value>) {
    let dashboard: Value = serde_json::from_str(&read("grafana/usersync.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").clone();
    (dashboard, panels)
}

/// Waits until `/metrics` has these series; the gauges are updated every 5 s.
async fn shown(served: &Served, series: &[&str]) -> String {
    let began = Instant::now();
    loop {
        let text = served.get("/metrics").await.1;
        if series.iter().all(|one| text.contains(&format!("\nusersync_{one}"))) {
            return text;
        }
        assert!(began.elapsed() < STEP_TIMEOUT, "no {series:?} in {text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Returns the labels of each series of the built binary after it has worked, and the metrics that it declares.
async fn exposed() -> (BTreeMap<String, BTreeSet<String>>, BTreeSet<String>, String) {
    let alert = "\n[[alert]]\nname = \"ops\"\ncommand = [\"/bin/true\"]\n";
    let served = Served::configured("apply", |_| {}, |place| place.configure(|text| format!("{text}{alert}"))).await;
    served.until(&["status"], 0, "In sync.").await;
    // A metric is declared once it has a series: a write, a request without a signature, and a refused token.
    served.servers.realm.create_user(NewUser::named("alice")).await.expect("created");
    let hook = format!("http://{}/hooks/{CONNECTOR}", served.address);
    let answer = reqwest::Client::new().post(hook).body("{}").send().await.expect("answered");
    assert_eq!(answer.status().as_u16(), 401);
    let text =
        shown(&served, &["event_to_write_seconds_bucket{", "successful_run_due_timestamp_seconds{", "alerts_waiting{"])
            .await;
    assert!(text.contains("state=\"in_service\"} 1"), "{text}");
    let token = served.servers.jira.token().to_owned();
    served.servers.jira.revoke_token(&token);
    served.servers.realm.create_user(NewUser::named("bob")).await.expect("created");
    let text = shown(&served, &["refused_sign_ins_total{", "condition_since_timestamp_seconds{"]).await;
    let series = pattern(r"(?m)^(usersync_[a-z_]+)(?:\{(.*)\})? ");
    let label = pattern(r#"([a-z_]+)=""#);
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in series.captures_iter(&text) {
        let own = one.get(2).map_or("", |labels| labels.as_str());
        let own = label.captures_iter(own).map(|label| label[1].to_owned());
        labels.entry(one[1].to_owned()).or_default().extend(own);
    }
    let family = pattern(r"(?m)^# TYPE (usersync_[a-z_]+) ");
    let declared = family.captures_iter(&text).map(|one| one[1].to_owned()).collect();
    (labels, declared, text)
}

/// Returns the same metrics in Prometheus' older text format, which promtool reads: it names a counter with its suffix,
/// and has no type `info`.
fn plain(text: &str) -> String {
    let typed = pattern(r"(?m)^# TYPE (\S+) (counter|info)$");
    let suffixes: BTreeMap<&str, &str> = typed
        .captures_iter(text)
        .map(|one| {
            let (_, [name, kind]) = one.extract();
            (name, if kind == "counter" { "_total" } else { "_info" })
        })
        .collect();
    let about = pattern(r"^# (HELP|TYPE) (\S+) (.*)$");
    let mut lines = String::new();
    for line in text.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        match about.captures(line) {
            Some(one) => {
                let (_, [word, name, rest]) = one.extract();
                let suffix = suffixes.get(name).copied().unwrap_or_default();
                let rest = if (word, rest) == ("TYPE", "info") { "gauge" } else { rest };
                lines.extend(["# ", word, " ", name, suffix, " ", rest, "\n"]);
            }
            None => lines.extend([line, "\n"]),
        }
    }
    lines
}

#[tokio::test]
async fn every_metric_and_label_of_rules_and_dashboard_exists() {
    let (series, declared, text) = exposed().await;
    // For promtool, which scripts/test runs on it.
    let file = std::env::var_os("USERSYNC_TEST_METRICS").map(PathBuf::from);
    if let Some(file) = file {
        std::fs::write(file, plain(&text)).expect("written");
    }
    for shown in ["usersync_ready 1", "usersync_store_free_bytes{}", "state=\"in_service\"} 1"] {
        assert!(text.contains(shown), "no {shown} in {text}");
    }
    assert!(!text.contains("\nusersync_start_timestamp_seconds 0"), "{text}");
    let mut wrong = BTreeSet::new();
    for (file, content) in
        [("rules", read("prometheus/usersync.rules.yml")), ("dashboard", read("grafana/usersync.json"))]
    {
        // The strings of JSON escape the quotes of labels.
        let named = named(&content.replace("\\\"", "\""));
        assert!(named.len() > 10, "{file}: {named:?}");
        for (name, labels) in named {
            let family = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
            if !declared.contains(family) && !declared.contains(&name) {
                wrong.insert(format!("{file}: there is no metric {name}"));
            }
            let Some(own) = series.get(&name) else { continue };
            let unknown = labels.iter().filter(|label| !own.contains(*label) && !ADDED.contains(&label.as_str()));
            wrong.extend(unknown.map(|label| format!("{file}: {name} has no label {label}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_alert_has_a_test_a_severity_and_two_sentences() {
    let (rules, tests) = (read("prometheus/usersync.rules.yml"), read("prometheus/usersync.rules.test.yml"));
    let blocks: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(blocks.len() > 20, "{}", blocks.len());
    for block in blocks {
        let name = block.lines().next().expect("a name");
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} has no test that expects it");
        for part in ["severity: ", "summary: ", "description: >-"] {
            assert!(block.contains(part), "{name} has no {part}");
        }
    }
    assert!(tests.contains("a healthy system has no alert"));
}

#[test]
fn the_dashboard_is_complete() {
    let (dashboard, panels) = dashboard();
    assert!(dashboard["schemaVersion"].as_i64().expect("a number") >= 39);
    for field in ["title", "uid", "time", "refresh", "templating"] {
        assert!(!dashboard[field].is_null(), "no {field}");
    }
    let variables: BTreeSet<&str> = dashboard["templating"]["list"]
        .as_array()
        .expect("variables")
        .iter()
        .map(|one| one["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(variables, BTreeSet::from(["connector", "datasource", "target"]));
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in &panels {
        let title = panel["title"].as_str().filter(|title| !title.is_empty()).expect("a title");
        assert!(ids.insert(panel["id"].as_i64().expect("an id")), "{title}: its id is used twice");
        let place = |field: &str| panel["gridPos"][field].as_u64().unwrap_or_else(|| panic!("{title}: no {field}"));
        let (x, y, w, h) = (place("x"), place("y"), place("w"), place("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}: {x} + {w}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} overlaps another panel at {cell:?}");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}: no description");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().filter(|all| !all.is_empty()).expect("queries");
        let mut references = BTreeSet::new();
        for target in targets {
            assert!(target["expr"].as_str().is_some_and(|expr| !expr.is_empty()), "{title}: a query is empty");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(references.insert(target["refId"].as_str().expect("a refId")), "{title}: a refId is used twice");
        }
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
        assert!(panel["type"] == "table" || !unit.is_empty(), "{title}: no unit");
    }
    assert!(panels.len() > 15);
}
