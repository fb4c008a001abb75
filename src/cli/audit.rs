//! `usersync audit`: actions of operators in usersync.

use crate::store::StoreReads;
use clap::Args;

use super::{
    Context, app,
    args::PageArgs,
    exit::{Exit, Outcome},
    table::column,
};

/// Show the actions of operators: decisions, requests, replays, pauses, confirmations
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usersync audit
  usersync audit --limit 0 --json
  usersync audit --before 112      continue a previous list

What was written to the targets, and why: usersync changes")]
pub(super) struct AuditArgs {
    #[command(flatten)]
    page: PageArgs,
}

impl AuditArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let config = context.config()?;
        let opened = app::open_for_reading(context, &config).await?;
        let records = opened.store.audit(self.page.before, self.page.limit).await?;
        let out = &context.out;
        if out.json {
            out.document(&serde_json::json!({ "audit": records }));
            return Ok(Exit::Done);
        }
        if records.is_empty() {
            out.say(match self.page.before {
                None => "0 entries: no operator has acted yet.".to_owned(),
                Some(id) => format!("0 entries: there is none before {id}. The newest: usersync audit"),
            });
            return Ok(Exit::Done);
        }
        let rows = records.iter().map(|record| {
            vec![
                record.id.to_string(),
                out.exact(record.at),
                out.ago(record.at),
                record.by.clone(),
                record.what.clone(),
            ]
        });
        let columns = [column("id").right(), column("at"), column("").spared(), column("who"), column("what")];
        out.table(&columns, rows.collect());
        if let (true, Some(last)) = (self.page.is_full(records.len()), records.last()) {
            out.say(format!("Older ones: --before {}", last.id));
        }
        Ok(Exit::Done)
    }
}
