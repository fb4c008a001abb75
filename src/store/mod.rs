//! The store: the [`Store`] trait and its types. Each method is one transaction; `tests/it/store` runs the same
//! expectations against every implementation.
//!
//! The rules that these transactions keep are model-checked. `docs/architecture.md` describes them; the comments cite
//! them by name.

mod engine_store;
mod error;
mod operator_store;
mod reads;
pub mod sqlite;
mod work;

pub use engine_store::{Appended, EngineStore, Inbox, LinkedFederation, Request, Totals};
pub use error::{StoreError, StoreResult};
pub use operator_store::{AuditRecord, Decision, OperatorStore, OrderEnd, PairHoldings};
pub use reads::{
    ChangeFilter, EventCounts, EventFilter, Overdue, PairCounts, PairRecord, PairState, PolledEvents, StoreReads,
    TaskFilter,
};
pub use work::{
    Adopted, Claimed, ContactOrder, Failure, GroupWrite, Holder, IntentOutcome, LinkOrder, LinkWrite, MembersRead,
    MovedGroup, NameFrom, NewIntent, OpenIntent, Planned, Step, Stepped, Waiting,
};

/// A whole store.
pub trait Store: EngineStore + OperatorStore {}

impl<S: EngineStore + OperatorStore> Store for S {}
