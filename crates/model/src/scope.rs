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

/// The names in a [`Scope`] or a [`Subject`]. `stack` and `environment` are never both present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScopeNames<'scope> {
    /// The project. Absent only for [`Scope::Organization`].
    pub project: Option<&'scope str>,
    /// The stack.
    pub stack: Option<&'scope str>,
    /// The environment.
    pub environment: Option<&'scope str>,
}

impl<'scope> ScopeNames<'scope> {
    fn of_stack(project: &'scope ProjectName, stack: &'scope StackName) -> Self {
        Self { project: Some(project.as_str()), stack: Some(stack.as_str()), environment: None }
    }

    fn of_environment(project: &'scope ProjectName, environment: &'scope EnvironmentName) -> Self {
        Self { project: Some(project.as_str()), stack: None, environment: Some(environment.as_str()) }
    }
}

impl Subject {
    /// Returns the project.
    pub const fn project(&self) -> &ProjectName {
        match self {
            Self::Stack { project, .. } | Self::Environment { project, .. } => project,
        }
    }

    /// Returns the names.
    pub fn names(&self) -> ScopeNames<'_> {
        match self {
            Self::Stack { project, stack } => ScopeNames::of_stack(project, stack),
            Self::Environment { project, environment } => ScopeNames::of_environment(project, environment),
        }
    }
}

impl Scope {
    /// Returns the names.
    pub fn names(&self) -> ScopeNames<'_> {
        match self {
            Self::Organization => ScopeNames::default(),
            Self::Stack { project, stack } => ScopeNames::of_stack(project, stack),
            Self::Environment { project, environment } => ScopeNames::of_environment(project, environment),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_scopes_and_subjects() {
        let project = ProjectName::parse("web").expect("a name");
        let stack = StackName::parse("prod").expect("a name");
        let environment = EnvironmentName::parse("eu").expect("a name");
        let of_stack = ScopeNames { project: Some("web"), stack: Some("prod"), environment: None };
        let of_environment = ScopeNames { project: Some("web"), stack: None, environment: Some("eu") };
        assert_eq!(Scope::Organization.names(), ScopeNames::default());
        let [in_scope, subject] = [project.clone(), project.clone()];
        assert_eq!(Scope::Stack { project: in_scope, stack: stack.clone() }.names(), of_stack);
        assert_eq!(Subject::Stack { project: subject, stack }.names(), of_stack);
        let scope = Scope::Environment { project: project.clone(), environment: environment.clone() };
        assert_eq!(scope.names(), of_environment);
        assert_eq!(Subject::Environment { project, environment }.names(), of_environment);
    }
}
