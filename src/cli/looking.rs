//! A store that is only read, for a plan beside a running server: what a dry run would note of itself is left out.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    model::{
        AccountId, Cause, Change, ConnectorName, ErrorClass, EventRecord, GroupId, GroupMapping, HeldItem, HeldKind,
        HeldSet, Limited, Link, Look, ManagedGroup, NewEvent, NewHeldItem, Pair, Priority, RunId, RunMode, RunOutcome,
        RunRecord, RunTrigger, SourceIdentity, Subject, TargetGroupId, TargetIdentity, TargetName, TaskRecord, Token,
        UserId,
    },
    store::{
        Adopted, Appended, AuditRecord, ChangeFilter, Claimed, Decision, EventFilter, Failure, Holder, OpenIntent,
        PairCounts, PairRecord, PairState, Planned, Request, Step, Stepped, Store, StoreError, StoreResult, TaskFilter,
        Waiting,
    },
};

/// See the module.
pub(super) struct Looking {
    store: Arc<dyn Store>,
    looks: AtomicI64,
    /// Connectors and targets that were met before, so that their identities are pinned.
    connectors: BTreeSet<ConnectorName>,
    targets: BTreeSet<TargetName>,
}

impl Looking {
    /// Over this store, for a look at these pairs.
    pub async fn new(store: Arc<dyn Store>, pairs: &[Pair]) -> StoreResult<Self> {
        let (mut connectors, mut targets) = (BTreeSet::new(), BTreeSet::new());
        for pair in pairs {
            if !store.runs(Some(pair), 1).await?.is_empty() {
                connectors.insert(pair.connector.clone());
                targets.insert(pair.target.clone());
            }
        }
        Ok(Self { store, looks: AtomicI64::new(0), connectors, targets })
    }
}

/// Methods that only read.
macro_rules! reads {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $result:ty;)*) => {
        [$($name($($arg: $kind),*) -> $result)*]
    };
}
