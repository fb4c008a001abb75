//! The numbers that stand for names in the tables, and their cache.

use std::collections::HashMap;

use crate::model::{ConnectorName, Pair, TargetGroupId, TargetName};

/// The numbers of a pair, its connector and its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PairNo {
    pub pair: i64,
    pub connector: i64,
    pub target: i64,
}

/// Cache of numbers. They never change; after a rollback the cache is cleared.
#[derive(Default)]
pub(super) struct Names {
    pub connectors: HashMap<ConnectorName, i64>,
    pub targets: HashMap<TargetName, i64>,
    pub pairs: HashMap<Pair, PairNo>,
    pub groups: HashMap<(i64, TargetGroupId), i64>,
    pub group_ids: HashMap<i64, TargetGroupId>,
}
