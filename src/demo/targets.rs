//! The other kinds of target in a stack beside its Jira: a simulator and a client for each.

use std::sync::Arc;

use url::Url;

use usersync_simulators::{
    BitbucketOptions, ConfluenceOptions, CrowdOptions, ScimOptions, SimulatedBitbucket, SimulatedConfluence,
    SimulatedCrowd, SimulatedScim, agree::Holds, fault::Faults, journal::Journal,
};

use super::error::{StackError, fault};
use crate::{
    model::TargetName,
    targets::{
        Credentials, Target,
        bitbucket::{BitbucketSettings, BitbucketTarget},
        confluence::{ConfluenceSettings, ConfluenceTarget},
        crowd::{CrowdSettings, CrowdTarget},
        http::SecretProvider,
        scim::{ScimSettings, ScimTarget},
    },
};

/// A kind of target that a stack can have beside its Jira.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Confluence.
    Confluence,
    /// Bitbucket.
    Bitbucket,
    /// Crowd.
    Crowd,
    /// A SCIM service.
    Scim,
}

/// A target beside the Jira.
#[derive(Clone)]
pub struct OtherTarget {
    /// The name of the target.
    pub name: TargetName,
    /// The client.
    pub target: Arc<dyn Target>,
}

/// The simulator of a target; it stops when the last clone is dropped.
#[derive(Clone)]
pub struct SimulatedTarget {
    /// The product that it simulates.
    pub product: Product,
    /// The simulator's URL.
    pub url: String,
    /// The faults that it simulates.
    pub faults: Faults,
    /// The journal of requests that it received.
    pub journal: Journal,
    /// The simulator's state.
    pub server: Arc<dyn Holds>,
}

/// Starts one simulator of each kind.
pub async fn all() -> Result<Vec<SimulatedTarget>, StackError> {
    let mut all = Vec::new();
    for product in Product::ALL {
        all.push(product.simulate().await?);
    }
    Ok(all)
}

fn secret(text: &str) -> SecretProvider {
    let text = text.to_owned();
    Arc::new(move || Ok(text.clone().into()))
}

fn token(text: &str) -> Credentials {
    Credentials::Token(secret(text))
}

impl Product {
    /// All products.
    pub const ALL: [Self; 4] = [Self::Confluence, Self::Bitbucket, Self::Crowd, Self::Scim];

    /// Returns the name, such as `Crowd`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confluence => "Confluence",
            Self::Bitbucket => "Bitbucket",
            Self::Crowd => "Crowd",
            Self::Scim => "SCIM",
        }
    }

    /// Returns the kind as written in a configuration.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Confluence => "confluence",
            Self::Bitbucket => "bitbucket",
            Self::Crowd => "crowd",
            Self::Scim => "scim",
        }
    }

    /// Returns the name of the target in a stack.
    pub fn target_name(self) -> TargetName {
        self.name().to_lowercase().into()
    }

    /// Returns the keys of a `[[target]]` with the credentials of a simulator with default options, as in [`Self::at`].
    pub fn credentials(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Confluence => vec![("token", ConfluenceOptions::default().token)],
            Self::Bitbucket => {
                let (user, password) = BitbucketOptions::default().admin;
                vec![("user", user), ("password", password)]
            }
            Self::Crowd => {
                let (application, password) = CrowdOptions::default().application;
                vec![("user", application), ("password", password)]
            }
            Self::Scim => vec![("token", ScimOptions::default().token)],
        }
    }

    /// Starts a simulator with its default options.
    pub async fn simulate(self) -> Result<SimulatedTarget, StackError> {
        Ok(match self {
            Self::Confluence => {
                let server = SimulatedConfluence::start(ConfluenceOptions::default()).await.map_err(fault)?;
                self.simulated(server.url(), server.faults.clone(), server.journal.clone(), server)
            }
            Self::Bitbucket => {
                let server = SimulatedBitbucket::start(BitbucketOptions::default()).await.map_err(fault)?;
                self.simulated(server.url(), server.faults.clone(), server.journal.clone(), server)
            }
            Self::Crowd => {
                let server = SimulatedCrowd::start(CrowdOptions::default()).await.map_err(fault)?;
                self.simulated(server.url(), server.faults.clone(), server.journal.clone(), server)
            }
            Self::Scim => {
                let server = SimulatedScim::start(ScimOptions::default()).await.map_err(fault)?;
                self.simulated(server.url(), server.faults.clone(), server.journal.clone(), server)
            }
        })
    }

    fn simulated(self, url: String, faults: Faults, journal: Journal, server: impl Holds + 'static) -> SimulatedTarget {
        SimulatedTarget { product: self, url, faults, journal, server: Arc::new(server) }
    }

    /// Creates a client of a simulator with default options at this address, which may belong to another process.
    pub fn at(self, url: &str) -> Result<OtherTarget, StackError> {
        let url = Url::parse(url).map_err(fault)?;
        let target: Arc<dyn Target> = match self {
            Self::Confluence => {
                let settings = ConfluenceSettings::new(url, token(&ConfluenceOptions::default().token));
                Arc::new(ConfluenceTarget::new(settings).map_err(fault)?)
            }
            Self::Bitbucket => {
                let (user, password) = BitbucketOptions::default().admin;
                let credentials = Credentials::Basic { user, password: secret(&password) };
                let settings = BitbucketSettings::new(url, credentials);
                Arc::new(BitbucketTarget::new(settings).map_err(fault)?)
            }
            Self::Crowd => {
                let (application, password) = CrowdOptions::default().application;
                let settings = CrowdSettings::new(url, &application, secret(&password));
                Arc::new(CrowdTarget::new(settings).map_err(fault)?)
            }
            Self::Scim => {
                let settings = ScimSettings::new(url, token(&ScimOptions::default().token));
                Arc::new(ScimTarget::new(settings).map_err(fault)?)
            }
        };
        Ok(OtherTarget { name: self.target_name(), target })
    }
}

impl SimulatedTarget {
    /// Returns the target for a stack, with a client of this simulator.
    pub fn other_target(&self) -> Result<OtherTarget, StackError> {
        self.product.at(&self.url)
    }
}
