//! `usersync policy`: what a policy does, without a server.

mod junit;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Context, app,
    exit::{Exit, Failure, Outcome},
    out::{Out, State},
    words::{count, some},
};
use crate::{
    config::{Config, ConnectorConfig},
    model::{ConnectorName, TargetName, UserTest},
    policy::{Mismatch, check_account, check_group, check_scope},
    targets::TargetConfig,
};

/// Test the policy
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usersync policy test
  usersync policy test --connector acme --junit results.xml")]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the tests of the configuration
    #[command(
        long_about = "\
Run the tests of the configuration: [[connector.group_test]] and [[connector.user_test]].

Each test names a user or a group, and what the policy is expected to do with it. The policy is evaluated as in a run, \
without Keycloak, target or store. Files and variables with secrets need not exist, so the tests run anywhere. A target \
is assumed to support what its kind and its settings state. Exit code 0: all tests pass, or there are none. 1: a test \
fails.",
        after_help = "\
Examples:
  usersync policy test
  usersync policy test --connector acme --junit results.xml
  usersync policy test --json | jq '.tests[] | select(.passed | not)'

A test:
  [[connector.user_test]]
  name = \"contractors stay out\"
  user = { username = \"bob\", groups = [\"/staff\"], attributes = { type = [\"contractor\"] } }
  in_scope = false

All keys of tests: usersync config reference"
    )]
    Test(TestArgs),
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Only this connector
    #[arg(long, value_name = "NAME")]
    connector: Option<ConnectorName>,
    #[arg(long, value_name = "FILE", help = "Also write the results to this file, as JUnit XML")]
    junit: Option<PathBuf>,
}

/// What a test is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Group,
    User,
}

/// The result of a test.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Tested {
    connector: ConnectorName,
    kind: Kind,
    /// The name of a test of a user; the path of a group.
    name: String,
    /// Line in the configuration, from 1.
    line: usize,
    passed: bool,
    failures: Vec<TestFailure>,
}

/// A value that is not as expected.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct TestFailure {
    #[serde(flatten)]
    mismatch: Mismatch,
    /// The targets that it concerns; empty: all, or none in particular.
    targets: Vec<TargetName>,
}

impl TestFailure {
    /// Returns the failure as one sentence.
    fn text(&self) -> String {
        let Mismatch { about, expected, actual, why } = &self.mismatch;
        let names = self.targets.iter().map(TargetName::as_str);
        let place =
            if self.targets.is_empty() { String::new() } else { format!(" in {}", some(names, 8, self.targets.len())) };
        let why = why.as_ref().map(|why| format!(", because {why}")).unwrap_or_default();
        format!("{about}{place}: expected {expected}, actual {actual}{why}")
    }
}

impl PolicyArgs {
    pub fn run(self, context: &Context) -> Outcome {
        let Command::Test(args) = self.command;
        let config = context.config_without_files()?;
        if let Some(name) = &args.connector {
            app::known_connector(&config, name)?;
        }
        let connectors = config.connectors.iter();
        let connectors = connectors.filter(|one| args.connector.as_ref().is_none_or(|name| *name == one.name));
        let tests: Vec<Tested> = connectors.flat_map(|connector| run_tests(&config, connector)).collect();
        let file = config.path.display().to_string();
        if let Some(path) = &args.junit {
            let failed = |error: std::io::Error| {
                Failure::problem(format!("{}: the results cannot be written: {error}", path.display()))
            };
            std::fs::write(path, junit::report(&tests, &file).map_err(failed)?).map_err(failed)?;
        }
        let failed = tests.iter().filter(|test| !test.passed).count();
        let out = &context.out;
        if out.json {
            let passed = tests.len() - failed;
            out.document(&serde_json::json!({ "tests": tests, "passed": passed, "failed": failed }));
        } else {
            show(out, &tests, &file, failed);
        }
        Ok(if failed > 0 { Exit::Problems } else { Exit::Done })
    }
}

fn run_tests(config: &Config, connector: &ConnectorConfig) -> Vec<Tested> {
    let tested = |kind, name: &str, line, failures: Vec<TestFailure>| Tested {
        connector: connector.name.clone(),
        kind,
        name: name.to_owned(),
        line,
        passed: failures.is_empty(),
        failures,
    };
    let policy = &connector.policy;
    let groups = connector.tests.groups.iter().map(|(line, test)| {
        let targets = targets(config, connector, test.target.as_ref());
        let by_target = |target: &TargetConfig| {
            check_group(test, policy, &target.name, &target.expected_capabilities()).into_iter().collect::<Vec<_>>()
        };
        tested(Kind::Group, &test.path, *line, by_mismatch(&targets, by_target))
    });
    let users = connector.tests.users.iter().map(|(line, test): &(usize, UserTest)| {
        let targets = targets(config, connector, test.target.as_ref());
        let scope = check_scope(test, policy).map(|mismatch| TestFailure { mismatch, targets: Vec::new() });
        let by_target = |target: &TargetConfig| {
            check_account(test, &connector.tests.groups, policy, &target.name, &target.expected_capabilities())
        };
        let failures = scope.into_iter().chain(by_mismatch(&targets, by_target)).collect();
        tested(Kind::User, &test.name, *line, failures)
    });
    groups.chain(users).collect()
}

/// Returns the targets of a test: the one that it names, else all of the connector.
fn targets<'c>(config: &'c Config, connector: &ConnectorConfig, only: Option<&TargetName>) -> Vec<&'c TargetConfig> {
    let wanted = |target: &&TargetConfig| {
        connector.targets.contains(&target.name) && only.is_none_or(|name| *name == target.name)
    };
    config.targets.iter().filter(wanted).collect()
}

/// Collects the mismatches of all targets, the same one of several targets once.
fn by_mismatch(targets: &[&TargetConfig], check: impl Fn(&TargetConfig) -> Vec<Mismatch>) -> Vec<TestFailure> {
    let mut failures: Vec<TestFailure> = Vec::new();
    for target in targets {
        for mismatch in check(target) {
            match failures.iter_mut().find(|failure| failure.mismatch == mismatch) {
                Some(failure) => failure.targets.push(target.name.clone()),
                None => failures.push(TestFailure { mismatch, targets: vec![target.name.clone()] }),
            }
        }
    }
    for failure in failures.iter_mut().filter(|failure| failure.targets.len() == targets.len()) {
        failure.targets.clear();
    }
    failures
}

fn show(out: &Out, tests: &[Tested], file: &str, failed: usize) {
    if tests.is_empty() {
        return out.say(
            "0 tests: the configuration has no [[connector.group_test]] and no [[connector.user_test]]. How to write \
             them: usersync policy test --help",
        );
    }
    for test in tests.iter().filter(|test| !test.passed) {
        let Tested { connector, name, line, .. } = test;
        out.prose(6, format!("{}  {}  {connector}  {file}:{line}", out.state(State::No), out.strong(name)));
        for failure in &test.failures {
            out.prose(8, format!("      {}", failure.text()));
        }
    }
    let passed = tests.len() - failed;
    let passed = count(passed, "test passes", "tests pass");
    match failed {
        0 if tests.len() == 1 => out.say(format!("{passed}.")),
        0 => out.say(format!("All {passed}.")),
        _ => out.say(format!("{}, {passed}.", count(failed, "test fails", "tests fail"))),
    }
}
