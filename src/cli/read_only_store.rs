//! A read-only store for a plan beside a running server. What a dry run would record about itself is discarded.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    model::{
        AccountId, Approval, ApprovalItem, ApprovalKind, Cause, Change, Condition, ConnectorName, ErrorClass,
        EventPoll, EventRecord, Federated, GroupId, GroupMapping, Limited, Link, ManagedGroup, NewApprovalItem,
        NewEvent, ObservationSeq, Packed, Pair, Priority, Refusals, RunId, RunMode, RunOutcome, RunProgress, RunRecord,
        RunTrigger, SourceIdentity, Subject, TargetGroupId, TargetIdentity, TargetName, TaskRecord, Token, Unsupported,
        UserId,
    },
    store::{
        Adopted, Appended, AuditRecord, ChangeFilter, Claimed, ContactOrder, EngineStore, EventFilter, Failure, Holder,
        LinkOrder, LinkedFederation, MembersRead, MovedGroup, OpenIntent, OrderEnd, Overdue, PairCounts, PairRecord,
        PairState, Planned, Step, Stepped, Store, StoreError, StoreReads, StoreResult, TaskFilter, Totals, Waiting,
    },
};

/// A store that reads from another store and writes nothing.
pub(super) struct ReadOnlyStore {
    store: Arc<dyn Store>,
    observations: AtomicI64,
}

impl ReadOnlyStore {
    /// Wraps a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, observations: AtomicI64::new(0) }
    }
}

/// Implements the uniform methods of a store: those that read are forwarded, those that write are refused.
macro_rules! read_only {
    (
        $trait:ident;
        read { $(fn $read:ident(&$it:ident $(, $given:ident: $kind:ty)*) -> $found:ty;)* }
        refuse { $(fn $refuse:ident(&$me:ident $(, $unused:ident: $other:ty)*) -> $none:ty;)* }
        $($own:tt)*
    ) => {
        #[async_trait]
        impl $trait for ReadOnlyStore {
            $(async fn $read(&$it $(, $given: $kind)*) -> StoreResult<$found> {
                $it.store.$read($($given),*).await
            })*
            $(async fn $refuse(&$me $(, $unused: $other)*) -> StoreResult<$none> {
                $(let _ = $unused;)*
                Err(StoreError::Failed(concat!("a plan is read-only: ", stringify!($refuse)).to_owned()))
            })*
            $($own)*
        }
    };
}

read_only! {
    StoreReads;
    read {
        fn events(&self, filter: &EventFilter) -> Vec<EventRecord>;
        fn link(&self, pair: &Pair, user: &UserId) -> Option<Link>;
        fn links(&self, pair: &Pair) -> Packed<Link>;
        fn linked_elsewhere(&self, pair: &Pair) -> BTreeMap<AccountId, ConnectorName>;
        fn managed_groups(&self, target: &TargetName) -> Vec<ManagedGroup>;
        fn group_mappings(&self, pair: &Pair) -> Vec<(GroupId, GroupMapping)>;
        fn unsupported(&self, pair: &Pair) -> Vec<Unsupported>;
        fn requested_run(&self, pair: &Pair) -> Option<RunTrigger>;
        fn runs(&self, pair: Option<&Pair>, limit: usize) -> Vec<RunRecord>;
        fn pair_state(&self, pair: &Pair) -> PairState;
        fn paused(&self) -> BTreeSet<ConnectorName>;
        fn approvals(&self, open_only: bool) -> Vec<Approval>;
        fn approval(&self, id: i64) -> (Approval, Vec<ApprovalItem>);
        fn tasks(&self, filter: &TaskFilter) -> Vec<TaskRecord>;
        fn changes(&self, filter: &ChangeFilter) -> Vec<Change>;
        fn totals(&self, pair: &Pair) -> Totals;
        fn counts(&self, pair: &Pair, now: Timestamp) -> PairCounts;
        fn audit(&self, before: Option<i64>, limit: usize) -> Vec<AuditRecord>;
        fn conditions(&self) -> Vec<Condition>;
        fn contact_orders(&self) -> Vec<ContactOrder>;
        fn event_poll(&self, connector: &ConnectorName) -> EventPoll;
    }
    refuse {
    }

    async fn wait_for_work(&self, seen: u64) -> u64 {
        self.store.wait_for_work(seen).await
    }

    fn outside_changes(&self) -> u64 {
        self.store.outside_changes()
    }
}

read_only! {
    EngineStore;
    read {
        fn overdue(&self, pair: &Pair, before: Timestamp) -> Overdue;
        fn next_due(&self, target: &TargetName, connectors: &[ConnectorName]) -> Option<Timestamp>;
        fn holder(&self, token: Token, account: &AccountId, name: &str) -> Holder;
        fn still_held(&self, token: Token) -> bool;
        fn dropped_links(&self, pair: &Pair) -> Vec<Link>;
        fn seen_alive(&self, pair: &Pair, except: &UserId, limit: usize) -> Vec<UserId>;
        fn federations(&self, pair: &Pair) -> Vec<LinkedFederation>;
        fn active_federated(&self, pair: &Pair) -> Vec<UserId>;
        fn federated_users(&self, pair: &Pair, component: &str, limit: usize) -> Vec<(UserId, String)>;
        fn given(&self, pair: &Pair, group: &TargetGroupId) -> Vec<UserId>;
        fn stale_intents(&self, pair: &Pair, now: Timestamp) -> Vec<OpenIntent>;
        fn members_read(&self, pair: &Pair, after: Option<&TargetGroupId>) -> Vec<MembersRead>;
        fn group_paths(&self, pair: &Pair) -> Vec<(GroupId, String)>;
        fn unconfirmed_links(&self, pair: &Pair) -> Vec<UserId>;
        fn link_orders(&self, pair: &Pair) -> Vec<LinkOrder>;
        fn standing_items(&self, pair: &Pair) -> Vec<ApprovalItem>;
        fn done_in_last_hour(&self, pair: &Pair, kind: Limited, now: Timestamp) -> u32;
        fn has_open_items(&self, pair: &Pair, kind: ApprovalKind) -> bool;
    }
    refuse {
        fn note_refusals(&self, refusals: &[Refusals]) -> ();
        fn keep_conditions(&self, conditions: &[Condition]) -> ();
        fn keep_event_poll(&self, connector: &ConnectorName, poll: &EventPoll) -> ();
        fn end_contact(&self, order: &ContactOrder, end: &OrderEnd, now: Timestamp) -> ();
        fn append_events(&self, connector: &ConnectorName, targets: &[TargetName], events: Vec<NewEvent>, now: Timestamp) -> Appended;
        fn raise(&self, pair: &Pair, subjects: &[Subject], priority: Priority, cause: &Cause, now: Timestamp) -> usize;
        fn claim(&self, target: &TargetName, connectors: &[ConnectorName], now: Timestamp) -> Option<Claimed>;
        fn open_intents(&self, token: Token) -> Vec<OpenIntent>;
        fn adopt(&self, token: Token, link: Link, from: Option<UserId>, now: Timestamp) -> Adopted;
        fn step(&self, token: Token, step: Step, now: Timestamp) -> Stepped;
        fn complete(&self, token: Token, last: Step, held: Vec<NewApprovalItem>, recheck_at: Timestamp, now: Timestamp) -> Stepped;
        fn fail(&self, token: Token, failure: Failure, now: Timestamp) -> ();
        fn defer(&self, token: Token, until: Timestamp, reason: Option<(ErrorClass, String)>, now: Timestamp) -> ();
        fn wait_for(&self, token: Token, others: &[Subject], ring_ends_it: bool, at_latest: Timestamp, now: Timestamp) -> Waiting;
        fn claim_planned(&self, pair: &Pair, run: RunId, planned: Planned, now: Timestamp) -> Option<Claimed>;
        fn found_in_sync(&self, pair: &Pair, run: RunId, found: Vec<Planned>, now: Timestamp) -> usize;
        fn record_seen(&self, pair: &Pair, seen: Vec<(UserId, Option<Federated>)>, now: Timestamp) -> ();
        fn ensure_pairs(&self, pairs: &[Pair], now: Timestamp) -> Vec<PairRecord>;
        fn hold_first_run(&self, pair: &Pair, summary: serde_json::Value, now: Timestamp) -> i64;
        fn keep_members_read(&self, pair: &Pair, read: &[MembersRead], oldest: Timestamp) -> ();
        fn request_run(&self, pair: &Pair) -> ();
        fn keep_group_paths(&self, pair: &Pair, moved: &[MovedGroup]) -> ();
        fn confirm_links(&self, pair: &Pair, run: RunId, stand: &[UserId], dropped: &[(UserId, String)], now: Timestamp) -> ();
        fn prune(&self, before: Timestamp, limit: usize) -> usize;
    }

    fn abandon(&self, _: Token, _: Timestamp) {}

    fn event_waits(&self, token: Token) -> watch::Receiver<Option<Priority>> {
        self.store.event_waits(token)
    }

    async fn next_observation(&self) -> StoreResult<ObservationSeq> {
        Ok(ObservationSeq(self.observations.fetch_add(1, Ordering::Relaxed)))
    }

    async fn begin_run(&self, _: &Pair, _: RunTrigger, _: RunMode, _: Timestamp) -> StoreResult<RunId> {
        Ok(RunId(0))
    }

    async fn progress_run(&self, _: RunId, _: serde_json::Value) -> StoreResult<()> {
        Ok(())
    }

    async fn note_progress(&self, _: RunId, _: &RunProgress) -> StoreResult<()> {
        Ok(())
    }

    async fn end_run(&self, _: RunId, _: RunOutcome, _: serde_json::Value, _: Timestamp) -> StoreResult<()> {
        Ok(())
    }

    async fn set_pair_state(&self, _: &Pair, _: PairState, _: Timestamp) -> StoreResult<()> {
        Ok(())
    }

    async fn stop_for_target(&self, _: &Pair, _: Timestamp) -> StoreResult<()> {
        Ok(())
    }

    async fn pin_source(
        &self,
        connector: &ConnectorName,
        identity: &SourceIdentity,
    ) -> StoreResult<SourceIdentity> {
        Ok(self.store.source_identity(connector).await?.unwrap_or_else(|| identity.clone()))
    }

    async fn repin_source(&self, _: &ConnectorName, _: &SourceIdentity, _: Timestamp) -> StoreResult<()> {
        Ok(())
    }

    async fn pin_target(
        &self,
        target: &TargetName,
        identity: &TargetIdentity,
    ) -> StoreResult<(TargetIdentity, Option<TargetName>)> {
        let (pinned, elsewhere) = self.store.target_identity(target, identity).await?;
        Ok((pinned.unwrap_or_else(|| identity.clone()), elsewhere))
    }
}
