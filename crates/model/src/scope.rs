//! The place where a webhook is registered, and the subject of an event.

use crate::names::{EnvironmentName, ProjectName, StackName};

/// The place in its organization where a webhook is registered. It decides which events reach the webhook.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every stack and environment of the organization.
    Organization,
    /// One stack.
    Stack {
        /// The stack's project.
        project: ProjectName,
        /// The stack.
        stack: StackName,
    },
    /// One environment.
    Environment {
        /// The environment's project.
        project: ProjectName,
        /// The environment.
        environment: EnvironmentName,
    },
}

/// A [`Scope`] without its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeKind {
    /// See [`Scope::Organization`].
    Organization,
    /// See [`Scope::Stack`].
    Stack,
    /// See [`Scope::Environment`].
    Environment,
}

impl ScopeKind {
    /// The text form for messages and stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Stack => "stack",
            Self::Environment => "environment",
        }
    }
}

/// The stack or environment that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A stack.
    Stack {
        /// The stack's project.
        project: ProjectName,
        /// The stack.
        stack: StackName,
    },
    /// An environment.
    Environment {
        /// The environment's project.
        project: ProjectName,
        /// The environment.
        environment: EnvironmentName,
    },
}

impl Scope {
    /// Returns the kind of this scope.
    pub const fn kind(&self) -> ScopeKind {
        match self {
            Self::Organization => ScopeKind::Organization,
            Self::Stack { .. } => ScopeKind::Stack,
            Self::Environment { .. } => ScopeKind::Environment,
        }
    }

    /// Returns true if a webhook registered here receives events about `subject`. Source:
    /// wire-facts.md#scope-reach.
    pub fn reaches(&self, subject: &Subject) -> bool {
        match (self, subject) {
            (Self::Organization, _) => true,
            (Self::Stack { project, stack }, Subject::Stack { project: p, stack: s }) => {
                project == p && stack == s
            }
            (
                Self::Environment { project, environment },
                Subject::Environment { project: p, environment: e },
            ) => project == p && environment == e,
            (Self::Stack { .. }, Subject::Environment { .. })
            | (Self::Environment { .. }, Subject::Stack { .. }) => false,
        }
    }
}
