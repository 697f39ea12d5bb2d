//! Settings with which an organization's `pulumi_deployments` webhooks start deployments of other stacks.

use std::fmt;

use url::Url;

use crate::Timestamp;
use crate::ids::OrganizationId;
use crate::names::{ProjectName, StackName};
use crate::secret::Sealed;

/// The maximum number of stacks that one organization's webhooks may start.
pub const STACKS_MAX: usize = 1000;

/// A stack that may be started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackReference {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub stack: StackName,
}

impl StackReference {
    /// Parses `project/stack`; `None` when the text has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let (project, stack) = text.split_once('/')?;
        Some(Self { project: ProjectName::parse(project).ok()?, stack: StackName::parse(stack).ok()? })
    }
}

impl fmt::Display for StackReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project.as_str(), self.stack.as_str())
    }
}

/// An organization's credential for a Pulumi API, and the stacks that it may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentsCredential {
    /// The organization that owns it.
    pub organization: OrganizationId,
    /// The API: `http` or `https`, a host, no user, query or fragment. The outbound policy applies to it as
    /// to any endpoint.
    pub api_url: Url,
    /// The access token, sealed for its organization.
    pub token: Sealed,
    /// The stacks that may be started, sorted; at most [`STACKS_MAX`].
    pub stacks: Vec<StackReference>,
    /// When it was last set.
    pub set_at: Timestamp,
}
