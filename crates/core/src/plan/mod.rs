//! Plans the operations from the actual to the desired state: pure, no I/O, no clock. The same functions serve the
//! worker, the run and the dry run.

mod cause;
mod decision;
mod drift;
mod groups;
mod leaver;
mod matching;
mod safety_limit;
mod unmanaged;
mod user;

pub use cause::cause;
pub use decision::{
    Decision, Drifted, Findings, Hold, NameHolder, OwnerStanding, Planned, Presence, ProviderAnswer, Situation, Then,
};
pub use drift::{ChangedAt, account_deleted, changed_at};
pub use groups::{GroupTable, Resolved};
pub use leaver::{has_left, leaver_action, leaving_since};
pub use matching::{Candidate, Found, Owner, is_candidate, matched_account, searches_before_login};
pub use safety_limit::{Measure, limit};
pub use unmanaged::{removal, why_member_stays, why_members_stay};
pub use user::{decide, link_command, login_after_adoption, name_words, wanted_name};

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
