//! The other kinds of target that a stack can fill beside its Jira, each as a simulator and as a client that works it.

use std::sync::Arc;

use url::Url;

use usersync_simulators::{
    BitbucketOptions, ConfluenceOptions, CrowdOptions, ScimOptions, SimulatedBitbucket, SimulatedConfluence,
    SimulatedCrowd, SimulatedScim, agree::Holds, fault::Faults, journal::Journal,
};

use super::stack::{StackError, fault};
use crate::{
    model::TargetName,
    target::{
        Credentials, Target,
        bitbucket::{BitbucketSettings, BitbucketTarget},
        confluence::{ConfluenceSettings, ConfluenceTarget},
        crowd::{CrowdSettings, CrowdTarget},
        http::SecretProvider,
        scim::{ScimSettings, ScimTarget},
    },
};

/// A kind of target that a stack can fill beside its Jira.
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

/// A target that is filled beside the Jira.
#[derive(Clone)]
pub struct OtherTarget {
    /// How it is called.
    pub name: TargetName,
    /// Its client.
    pub target: Arc<dyn Target>,
}

/// The simulator of such a target; it ends when the last clone is dropped.
#[derive(Clone)]
pub struct SimulatedTarget {
    /// What it simulates.
    pub product: Product,
    /// Where it is.
    pub url: String,
    /// What goes wrong with it.
    pub faults: Faults,
    /// What was asked of it.
    pub journal: Journal,
    /// Its bare state.
    pub server: Arc<dyn Holds>,
}

/// One of each kind.
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
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Confluence, Self::Bitbucket, Self::Crowd, Self::Scim];

    /// Its name, as in `Crowd`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confluence => "Confluence",
            Self::Bitbucket => "Bitbucket",
            Self::Crowd => "Crowd",
            Self::Scim => "SCIM",
        }
    }

    /// Its kind, as a configuration calls it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Confluence => "confluence",
            Self::Bitbucket => "bitbucket",
            Self::Crowd => "crowd",
            Self::Scim => "scim",
        }
    }

    /// How a stack calls it.
    pub fn target_name(self) -> TargetName {
        self.name().to_lowercase().into()
    }

    /// The keys of a `[[target]]` that sign in to a simulator with its default options, as [`Self::at`] does.
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

    /// A client for a simulator with its default options at this address; it may be another process's.
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
    /// What a stack needs to fill it.
    pub fn other_target(&self) -> Result<OtherTarget, StackError> {
        self.product.at(&self.url)
    }
}
