//! The other kinds of target that a house can fill beside its Jira, each an imitation with its client.

use std::sync::Arc;

use url::Url;

use super::{
    BitbucketOptions, BitbucketSandbox, ConfluenceOptions, ConfluenceSandbox, CrowdOptions, CrowdSandbox, ScimOptions,
    ScimSandbox,
    agree::Holds,
    house::{HouseError, fault},
};
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

/// An imitated target beside the Jira; it ends when this is dropped.
#[derive(Clone)]
pub struct Neighbour {
    /// How it is called.
    pub name: TargetName,
    /// The product, as in `Crowd`.
    pub product: &'static str,
    /// Where it is.
    pub url: String,
    /// Its client.
    pub target: Arc<dyn Target>,
    /// Its bare state.
    pub server: Arc<dyn Holds>,
}

/// One of each kind.
pub async fn all() -> Result<Vec<Neighbour>, HouseError> {
    Ok(vec![confluence().await?, bitbucket().await?, crowd().await?, scim().await?])
}

fn address(url: &str) -> Result<Url, HouseError> {
    Url::parse(url).map_err(fault)
}

fn secret(text: &str) -> SecretProvider {
    let text = text.to_owned();
    Arc::new(move || Ok(text.clone().into()))
}

async fn confluence() -> Result<Neighbour, HouseError> {
    let options = ConfluenceOptions::default();
    let token = Credentials::Token(secret(&options.token));
    let server = ConfluenceSandbox::start(options).await.map_err(fault)?;
    let url = server.url();
    let target = ConfluenceTarget::new(ConfluenceSettings::new(address(&url)?, token)).map_err(fault)?;
    let (target, server): (Arc<dyn Target>, Arc<dyn Holds>) = (Arc::new(target), Arc::new(server));
    Ok(Neighbour { name: "confluence".into(), product: "Confluence", url, target, server })
}

async fn scim() -> Result<Neighbour, HouseError> {
    let options = ScimOptions::default();
    let token = Credentials::Token(secret(&options.token));
    let server = ScimSandbox::start(options).await.map_err(fault)?;
    let url = server.url();
    let target = ScimTarget::new(ScimSettings::new(address(&url)?, token)).map_err(fault)?;
    let (target, server): (Arc<dyn Target>, Arc<dyn Holds>) = (Arc::new(target), Arc::new(server));
    Ok(Neighbour { name: "scim".into(), product: "SCIM", url, target, server })
}

async fn bitbucket() -> Result<Neighbour, HouseError> {
    let options = BitbucketOptions::default();
    let token = Credentials::Token(secret(&options.token));
    let server = BitbucketSandbox::start(options).await.map_err(fault)?;
    let url = server.url();
    let target = BitbucketTarget::new(BitbucketSettings::new(address(&url)?, token)).map_err(fault)?;
    let (target, server): (Arc<dyn Target>, Arc<dyn Holds>) = (Arc::new(target), Arc::new(server));
    Ok(Neighbour { name: "bitbucket".into(), product: "Bitbucket", url, target, server })
}

async fn crowd() -> Result<Neighbour, HouseError> {
    let options = CrowdOptions::default();
    let (user, password) = options.application.clone();
    let server = CrowdSandbox::start(options).await.map_err(fault)?;
    let url = server.url();
    let settings = CrowdSettings::new(address(&url)?, &user, secret(&password));
    let target = CrowdTarget::new(settings).map_err(fault)?;
    Ok(Neighbour { name: "crowd".into(), product: "Crowd", url, target: Arc::new(target), server: Arc::new(server) })
}
