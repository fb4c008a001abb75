//! The command line: one file a command. Commands never do the server's work beside it: they write intentions, which a
//! running server finds at once; where none runs, those that have work to do take its place while they do it.

mod app;
mod args;
mod audit;
mod changes;
mod check;
mod config;
mod connector;
mod dead;
mod demo;
mod events;
mod exit;
mod explain;
mod held;
mod keycloak;
mod link;
mod looking;
mod out;
mod people;
mod plan;
mod progress;
mod refusals;
mod report;
mod retry;
mod runs;
mod serve;
mod status;
mod stop;
mod sync;
mod target;
mod tasks;
mod unlink;
mod words;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

pub use exit::Exit;
use exit::{Failure, Outcome};
use out::Out;

use crate::config::{Config, Drawing, Env};

/// Keeps users and groups of Keycloak realms in step in Jira, driven by Keycloak's own events.
#[derive(Debug, Parser)]
#[command(
    name = "usersync",
    version,
    about,
    long_about = "\
Keeps users and groups of Keycloak realms in step in Jira, driven by Keycloak's own events.

A change in Keycloak reaches the targets within a second; a full reconcile on a schedule finds whatever the events \
missed; whatever failed can be looked at, understood and replayed. Nothing is changed in a target before a person has \
seen the first plan and approved it.",
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
Examples, in the order of a first day:
  usersync config example > usersync.toml    a configuration to fill in
  usersync check                             is everything there that is needed?
  usersync plan                              what would be done; changes nothing
  usersync serve                             plans the first run and holds it; then keeps in step
  usersync held approve 1                    lets it go on

{}",
        exit::HELP
    )
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        help = "The configuration file; without it USERSYNC_CONFIG, ./usersync.toml or /etc/usersync/usersync.toml"
    )]
    config: Option<PathBuf>,
    /// Write the result, or the error, as one JSON document; serve, demo and config example refuse it
    #[arg(long, global = true)]
    json: bool,
    /// Say only what was asked for, and what is wrong
    #[arg(long, short, global = true)]
    quiet: bool,
    #[arg(long, global = true, help = "No colours; so does NO_COLOR, and any output that is not a terminal")]
    no_color: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Demo(demo::DemoArgs),
    Check(check::CheckArgs),
    Plan(plan::PlanArgs),
    Sync(sync::SyncArgs),
    Explain(explain::ExplainArgs),
    Link(link::LinkArgs),
    Unlink(unlink::UnlinkArgs),
    Status(status::StatusArgs),
    Events(events::EventsArgs),
    Changes(changes::ChangesArgs),
    Audit(audit::AuditArgs),
    Tasks(tasks::TasksArgs),
    Dead(dead::DeadArgs),
    Runs(runs::RunsArgs),
    Held(held::HeldArgs),
    Connector(connector::ConnectorArgs),
    Target(target::TargetArgs),
    Config(config::ConfigArgs),
    Keycloak(keycloak::KeycloakArgs),
}

/// What every command is given.
struct Context {
    told: Option<PathBuf>,
    env: Env,
    out: Out,
}

impl Context {
    fn config(&self) -> Result<Config, Failure> {
        Config::find_and_load(self.told.as_deref(), &self.env)
            .map_err(|errors| Failure::drawn(errors.render(self.drawing())))
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

    /// Who gives the command, for the record of what people did.
    fn by(&self) -> String {
        ["USER", "LOGNAME", "USERNAME"]
            .iter()
            .find_map(|name| self.env.get(name).filter(|name| !name.is_empty()))
            .unwrap_or_else(|| "somebody at the command line".to_owned())
    }
}

impl Command {
    async fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Serve(args) => args.run(context).await,
            Self::Demo(args) => args.run(context).await,
            Self::Check(args) => args.run(context).await,
            Self::Plan(args) => args.run(context).await,
            Self::Sync(args) => Box::pin(args.run(context)).await,
            Self::Explain(args) => args.run(context).await,
            Self::Link(args) => args.run(context).await,
            Self::Unlink(args) => args.run(context).await,
            Self::Status(args) => args.run(context).await,
            Self::Events(args) => args.run(context).await,
            Self::Changes(args) => args.run(context).await,
            Self::Audit(args) => args.run(context).await,
            Self::Tasks(args) => args.run(context).await,
            Self::Dead(args) => args.run(context).await,
            Self::Runs(args) => args.run(context).await,
            Self::Held(args) => args.run(context).await,
            Self::Connector(args) => args.run(context).await,
            Self::Target(args) => args.run(context).await,
            Self::Config(args) => args.run(context),
            Self::Keycloak(args) => args.run(context).await,
        }
    }
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are as wished; they go to standard output.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return exit.into();
        }
    };
    let Global { config, json, quiet, no_color } = cli.global;
    let context = Context { told: config, env: Env::Process, out: Out::new(json, quiet, no_color) };
    // The server logs as its configuration says.
    if !matches!(cli.command, Command::Serve(_))
        && let Err(error) = logs()
    {
        context.out.error(format!("usersync: {error}"));
        return Exit::Usage.into();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            context.out.error(format!("usersync: its threads cannot be started: {error}"));
            return Exit::Problems.into();
        }
    };
    let ended = runtime.block_on(cli.command.run(&context));
    // What still waits for an answer is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            context.out.failure(&failure);
            failure.exit.into()
        }
    }
}

/// A command tells what matters itself; log lines only where they were asked for.
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
