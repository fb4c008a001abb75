//! The command line: one file for each command. A command stores a request, which a running server takes up at once.
//! Without a server, a command that has work to do takes the server's place meanwhile. Rule: commands never work beside
//! a server.

mod alert;
mod app;
mod approvals;
mod args;
mod audit;
mod causes;
mod changes;
mod check;
mod config;
mod connector;
mod contact_now;
mod dead;
#[cfg(feature = "demo")]
mod demo;
mod drift;
mod events;
mod exit;
mod explain;
mod find_users;
mod hook_refusals;
mod keycloak;
mod link;
mod out;
mod plan;
mod policy;
mod polling;
mod progress;
mod read_only_store;
mod renames;
mod report;
mod runs;
mod serve;
mod status;
mod stop;
mod sync;
mod table;
mod target;
mod tasks;
mod unlink;
mod unmatched;
mod words;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use nix::unistd::{Uid, User};

pub use exit::Exit;
use exit::{Failure, Outcome};
use out::Out;

use crate::config::{Config, ConfigErrors, Drawing, Env};

/// Keeps users and groups of Keycloak realms in sync in Jira, Confluence, Bitbucket, Crowd and SCIM services.
#[derive(Debug, Parser)]
#[command(
    name = "usersync",
    version,
    about,
    long_about = "\
Keeps users and groups of Keycloak realms in sync in Jira, Confluence, Bitbucket, Crowd and SCIM services.

A change in Keycloak reaches the targets within a second; a scheduled full reconcile finds what the events missed. \
Failures can be explained and replayed. Nothing is changed in a target before an operator has approved the first plan.",
    after_help = exit::HELP,
    after_long_help = concat_help(),
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

fn concat_help() -> String {
    format!(
        "\
Examples, in the order of first use:
  usersync config example > usersync.toml    prints a configuration to fill in
  usersync keycloak setup --connector acme   creates the client and the secrets in Keycloak
  usersync check                             reports what is missing; changes nothing
  usersync plan                              shows what would be done; changes nothing
  usersync serve                             plans the first run, then keeps the targets in sync
  usersync approvals approve --connector acme     approves the first run

{}",
        exit::HELP
    )
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct Global {
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        help = "Configuration file; default: USERSYNC_CONFIG, ./usersync.toml or /etc/usersync/usersync.toml"
    )]
    config: Option<PathBuf>,
    /// Write the result, or the error, as one JSON document; not supported by serve, demo and config example
    #[arg(long, global = true)]
    json: bool,
    #[arg(
        long,
        global = true,
        help = "Show tables with all columns and uncut cells; default: fit the terminal, or 80 columns"
    )]
    wide: bool,
    /// Print only the requested result, and problems
    #[arg(long, short, global = true)]
    quiet: bool,
    #[arg(
        long,
        value_name = "NAME",
        global = true,
        help = "Operator's name for the audit; default: the login behind sudo, else the system user"
    )]
    by: Option<String>,
    #[arg(long, global = true, help = "No colours; also set by NO_COLOR, and for output that is not a terminal")]
    no_color: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    Check(check::CheckArgs),
    Plan(plan::PlanArgs),
    Sync(sync::SyncArgs),
    Explain(explain::ExplainArgs),
    Link(link::LinkArgs),
    Unlink(unlink::UnlinkArgs),
    Unmatched(unmatched::UnmatchedArgs),
    Drift(drift::DriftArgs),
    Status(status::StatusArgs),
    Events(events::EventsArgs),
    Changes(changes::ChangesArgs),
    Audit(audit::AuditArgs),
    Tasks(tasks::TasksArgs),
    Dead(dead::DeadArgs),
    Runs(runs::RunsArgs),
    Approvals(approvals::ApprovalsArgs),
    Connector(connector::ConnectorArgs),
    Target(target::TargetArgs),
    Alert(alert::AlertArgs),
    Config(config::ConfigArgs),
    Policy(policy::PolicyArgs),
    Keycloak(keycloak::KeycloakArgs),
}

/// Values that every command receives.
struct Context {
    reported: Option<PathBuf>,
    by: Option<String>,
    env: Env,
    out: Out,
}

impl Context {
    fn config(&self) -> Result<Config, Failure> {
        Config::find_and_load(self.reported.as_deref(), &self.env).map_err(|errors| self.wrong(&errors))
    }

    /// Returns the configuration; files and variables with secrets and certificates need not exist.
    fn config_without_files(&self) -> Result<Config, Failure> {
        self.load_without_files(self.reported.as_deref())
    }

    /// Returns the configuration in another file, in the same way.
    fn config_at_without_files(&self, file: &Path) -> Result<Config, Failure> {
        self.load_without_files(Some(file))
    }

    fn load_without_files(&self, file: Option<&Path>) -> Result<Config, Failure> {
        Config::find_and_load_without_files(file, &self.env).map_err(|errors| self.wrong(&errors))
    }

    /// Converts configuration errors to a failure.
    fn wrong(&self, errors: &ConfigErrors) -> Failure {
        Failure::drawn(errors.render(self.drawing()))
    }

    fn drawing(&self) -> Drawing {
        match Drawing::for_stderr() {
            Drawing::Terminal { .. } => Drawing::Terminal { colour: self.out.colour },
            Drawing::Plain => Drawing::Plain,
        }
    }

    /// Refuses `--json` for a command that has no result.
    fn refuse_json(&self, command: &str, why: &str) -> Result<(), Failure> {
        if self.out.json {
            return Err(Failure::usage(format!("usersync {command}: --json is not supported: {why}.")));
        }
        Ok(())
    }

    /// Returns the operator's name for the audit: `--by`, else the login behind sudo, else the system user. `USER` and
    /// similar variables are not read, because they can contain any name.
    fn by(&self) -> String {
        let given = self.by.clone().map(|name| name.trim().to_owned());
        let sudo = || self.env.get("SUDO_USER");
        let name = given.into_iter().chain(sudo()).find(|name| !name.is_empty());
        name.unwrap_or_else(|| {
            let us = Uid::effective();
            let user = User::from_uid(us).ok().flatten();
            user.map_or_else(|| format!("uid {us}"), |user| user.name)
        })
    }
}

impl Command {
    async fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Serve(args) => args.run(context).await,
            #[cfg(feature = "demo")]
            Self::Demo(args) => args.run(context).await,
            Self::Check(args) => args.run(context).await,
            Self::Plan(args) => args.run(context).await,
            Self::Sync(args) => Box::pin(args.run(context)).await,
            Self::Explain(args) => args.run(context).await,
            Self::Link(args) => args.run(context).await,
            Self::Unlink(args) => args.run(context).await,
            Self::Unmatched(args) => args.run(context).await,
            Self::Drift(args) => args.run(context).await,
            Self::Status(args) => args.run(context).await,
            Self::Events(args) => args.run(context).await,
            Self::Changes(args) => args.run(context).await,
            Self::Audit(args) => args.run(context).await,
            Self::Tasks(args) => args.run(context).await,
            Self::Dead(args) => args.run(context).await,
            Self::Runs(args) => args.run(context).await,
            Self::Approvals(args) => args.run(context).await,
            Self::Connector(args) => args.run(context).await,
            Self::Target(args) => args.run(context).await,
            Self::Alert(args) => args.run(context).await,
            Self::Config(args) => args.run(context),
            Self::Policy(args) => args.run(context),
            Self::Keycloak(args) => args.run(context).await,
        }
    }
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version were requested, so they are a success and go to standard output.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let json = std::env::args().skip(1).take_while(|arg| arg != "--").any(|arg| arg == "--json");
            if json && exit == Exit::Usage {
                let text = error.render().to_string();
                Out::new(true, false, true).failure(&Failure::wrong_arguments(&text));
            } else {
                let _ = error.print();
            }
            return exit.into();
        }
    };
    let Global { config, json, wide, quiet, by, no_color } = cli.global;
    let mut out = Out::new(json, quiet, no_color);
    out.wide = wide;
    let context = Context { reported: config, by, env: Env::Process, out };
    // The server initializes its logs from its configuration.
    if !matches!(cli.command, Command::Serve(_))
        && let Err(error) = logs()
    {
        let failure = Failure::usage(format!("usersync: {error}"));
        context.out.failure(&failure);
        return failure.exit.into();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::problem(format!("usersync: its threads cannot be started: {error}"));
            context.out.failure(&failure);
            return failure.exit.into();
        }
    };
    let ended = runtime.block_on(async {
        if matches!(cli.command, Command::Serve(_)) {
            Box::pin(cli.command.run(&context)).await
        } else {
            stop::unless_stopped(Box::pin(cli.command.run(&context))).await
        }
    });
    // Do not wait for requests that are still unanswered.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            context.out.failure(&failure);
            failure.exit.into()
        }
    }
}

/// Initializes log output if the filter variable is set. By default a command reports only its own messages.
fn logs() -> Result<(), crate::telemetry::logs::LogError> {
    use crate::{
        config::LogFormat,
        telemetry::logs::{FILTER_VARIABLE, init},
    };
    if std::env::var_os(FILTER_VARIABLE).is_none_or(|value| value.is_empty()) {
        return Ok(());
    }
    init(LogFormat::Text, tracing::Level::INFO)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }
}
