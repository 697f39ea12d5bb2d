//! Requests for starting another stack's deployment: their URL, and the organization's credential, read for each attempt.
//!
//! The token is decrypted, put into the request and wiped. No record, log line or error contains it (invariant 8).

use std::sync::Arc;

use stackbell_keys::{Keyring, OpenError};
use stackbell_model::deployments::{DeploymentsCredential, StackReference};
use stackbell_model::ids::OrganizationId;
use stackbell_model::names::OrganizationName;
use stackbell_store::{EngineStore, StoreError};
use url::Url;
use zeroize::Zeroizing;

use crate::outbound::{Target, TargetError};

/// The purpose of a request to the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Start a new deployment.
    Run,
    /// Check that the stack exists and is accessible. Starts nothing.
    Look,
}

/// Why no request can be made to the API.
pub(super) enum Refused {
    /// A fault on our side, which may be temporary.
    NotNow(Fault),
    /// A configuration problem. Somebody must fix it first, as its text says.
    Never(Refusal),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the organization's credential for deployments could not be read")]
    Store(#[from] StoreError),
    #[error("the organization's credential for deployments could not be opened")]
    Token(#[from] OpenError),
}

/// Each message says who can fix the problem, and how.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "the organization has no credential for starting deployments: an admin sets one with PUT /v1/orgs/{0}/deployments"
    )]
    NoCredential(OrganizationName),
    #[error(
        "stack {stack} is not among those that may be started: an admin adds it with PUT /v1/orgs/{organization}/deployments"
    )]
    NotListed { stack: StackReference, organization: OrganizationName },
    #[error("the webhook's payload URL does not name a stack as project/stack")]
    NotAStack,
    #[error(
        "nothing can be sent to the API's URL with this token: an admin sets both with PUT /v1/orgs/{organization}/deployments"
    )]
    Target { organization: OrganizationName, source: TargetError },
}

pub(super) struct Deployments {
    store: Arc<dyn EngineStore>,
    keyring: Arc<Keyring>,
}

impl Deployments {
    /// The version of the API that requests ask for. Source: wire-facts.md#formats.
    pub(super) const ACCEPT: &str = "application/vnd.pulumi+8";

    pub(super) fn new(store: Arc<dyn EngineStore>, keyring: Arc<Keyring>) -> Self {
        Self { store, keyring }
    }

    /// Returns the URL to call, which may be recorded, and the target, which carries the token.
    pub(super) async fn prepare(
        &self,
        organization: OrganizationId,
        name: &OrganizationName,
        stack: &str,
        wanted: Wanted,
    ) -> Result<(Box<str>, Arc<Target>), Refused> {
        let stack = StackReference::parse(stack).ok_or(Refused::Never(Refusal::NotAStack))?;
        let credential = self.store.deployments_credential(organization).await;
        let credential = credential
            .map_err(|error| Refused::NotNow(error.into()))?
            .ok_or_else(|| Refused::Never(Refusal::NoCredential(name.clone())))?;
        if !credential.stacks.contains(&stack) {
            return Err(Refused::Never(Refusal::NotListed { stack, organization: name.clone() }));
        }
        let url = stack_url(&credential, name, &stack, wanted);
        let target = self
            .target(&credential, &url)?
            .map_err(|source| Refused::Never(Refusal::Target { organization: name.clone(), source }))?;
        Ok((url.as_str().into(), Arc::new(target)))
    }

    fn target(
        &self,
        credential: &DeploymentsCredential,
        url: &Url,
    ) -> Result<Result<Target, TargetError>, Refused> {
        let token = self.keyring.open_deployments_token(credential.organization, &credential.token);
        let token = token.map_err(|error| Refused::NotNow(error.into()))?;
        let authorization = Zeroizing::new(format!("token {}", *token));
        Ok(Target::new(url).and_then(|target| target.with_authorization(&authorization)))
    }
}

/// Source: wire-facts.md#formats.
fn stack_url(
    credential: &DeploymentsCredential,
    organization: &OrganizationName,
    stack: &StackReference,
    wanted: Wanted,
) -> Url {
    let mut url = credential.api_url.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["api", "stacks", organization.as_str()]);
        segments.extend([stack.project.as_str(), stack.stack.as_str()]);
        if wanted == Wanted::Run {
            segments.push("deployments");
        }
    }
    url
}
