//! The server: its state, its settings, and the context of a request.

use parking_lot::{Mutex, RwLock};

use super::ScimOptions;
use super::auth::Access;
use super::state::World;
use super::switches::ScimSwitches;
use crate::front::Request;
use crate::versions::Versions;

/// State of the server.
#[derive(Debug)]
pub(crate) struct Scim {
    pub(crate) base_path: String,
    pub(crate) versions: Versions<World>,
    pub(crate) switches: RwLock<ScimSwitches>,
    pub(crate) access: Mutex<Access>,
}

/// A request that is being handled.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) switches: &'a ScimSwitches,
    /// The base URL as the caller wrote it.
    pub(crate) base: String,
}

impl Scim {
    pub(crate) fn new(options: &ScimOptions) -> Self {
        Self {
            base_path: options.base_path.trim_end_matches('/').to_owned(),
            versions: Versions::new(World::default(), options.history),
            switches: RwLock::new(options.switches.clone()),
            access: Mutex::new(Access::new(&options.token, &options.client)),
        }
    }

    pub(crate) fn switches(&self) -> ScimSwitches {
        self.switches.read().clone()
    }
}
