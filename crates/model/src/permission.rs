//! The permissions of each role: one table, as data.

/// A role in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// May do everything in the organization.
    Admin,
    /// May edit stacks and the webhooks of stacks and environments, publish, redeliver and recover.
    Member,
    /// May publish events, and nothing else.
    Publisher,
    /// May read, except payload URLs and signatures.
    Viewer,
}

impl Role {
    /// All roles.
    pub const ALL: &'static [Self] = &[Self::Admin, Self::Member, Self::Publisher, Self::Viewer];

    /// The text form, used everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Publisher => "publisher",
            Self::Viewer => "viewer",
        }
    }

    /// Parses the text form; `None` when it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == text)
    }

    /// Whether this role has a permission in its organization.
    pub const fn may(self, permission: Permission) -> bool {
        use Permission::{
            EditDeployments, EditMembers, EditOrganizationWebhooks, EditScopedWebhooks, Publish, Read,
            ReadAudit, ReadMembers, Redeliver, SeeCredentials,
        };
        match self {
            Self::Admin => true,
            Self::Member => match permission {
                Read | SeeCredentials | EditScopedWebhooks | Redeliver | Publish | ReadMembers => true,
                EditOrganizationWebhooks | EditMembers | EditDeployments | ReadAudit => false,
            },
            Self::Publisher => matches!(permission, Publish),
            Self::Viewer => matches!(permission, Read | ReadMembers),
        }
    }

    /// Whether `other` has every permission of this role. A token's role must be within the role of the user
    /// who makes it.
    pub fn is_within(self, other: Self) -> bool {
        Permission::ALL.iter().all(|permission| !self.may(*permission) || other.may(*permission))
    }
}

/// A permission in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See webhooks, deliveries and events.
    Read,
    /// See full payload URLs and recorded signatures.
    SeeCredentials,
    /// Create, edit, delete webhooks of the organization itself.
    EditOrganizationWebhooks,
    /// Create, edit, delete webhooks of stacks and environments.
    EditScopedWebhooks,
    /// Ping, redeliver, retry, cancel, recover, resume.
    Redeliver,
    /// Publish events.
    Publish,
    /// See the organization's members.
    ReadMembers,
    /// Edit the organization's members and service tokens.
    EditMembers,
    /// See and edit the settings that start deployments of other stacks.
    EditDeployments,
    /// Read the audit log.
    ReadAudit,
}

impl Permission {
    /// All permissions.
    pub const ALL: &'static [Self] = &[
        Self::Read,
        Self::SeeCredentials,
        Self::EditOrganizationWebhooks,
        Self::EditScopedWebhooks,
        Self::Redeliver,
        Self::Publish,
        Self::ReadMembers,
        Self::EditMembers,
        Self::EditDeployments,
        Self::ReadAudit,
    ];

    /// The permitted action, as a phrase that follows "may not".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read webhooks, deliveries and events",
            Self::SeeCredentials => "see payload URLs and signatures",
            Self::EditOrganizationWebhooks => "edit webhooks of the organization",
            Self::EditScopedWebhooks => "edit webhooks of stacks and environments",
            Self::Redeliver => "ping, redeliver, retry, cancel, recover or resume",
            Self::Publish => "publish events",
            Self::ReadMembers => "see members",
            Self::EditMembers => "edit members and service tokens",
            Self::EditDeployments => "see or edit the deployments credential",
            Self::ReadAudit => "read the audit log",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_cell_by_cell() {
        // One line per permission; columns: admin, member, publisher, viewer.
        let expected = [
            (Permission::Read, [true, true, false, true]),
            (Permission::SeeCredentials, [true, true, false, false]),
            (Permission::EditOrganizationWebhooks, [true, false, false, false]),
            (Permission::EditScopedWebhooks, [true, true, false, false]),
            (Permission::Redeliver, [true, true, false, false]),
            (Permission::Publish, [true, true, true, false]),
            (Permission::ReadMembers, [true, true, false, true]),
            (Permission::EditMembers, [true, false, false, false]),
            (Permission::EditDeployments, [true, false, false, false]),
            (Permission::ReadAudit, [true, false, false, false]),
        ];
        assert_eq!(expected.len(), Permission::ALL.len());
        for (permission, row) in expected {
            for (role, may) in Role::ALL.iter().zip(row) {
                assert_eq!(role.may(permission), may, "{role:?} {permission:?}");
            }
        }
    }

    #[test]
    fn roles_within_roles() {
        let within: Vec<(Role, Role)> = Role::ALL
            .iter()
            .flat_map(|a| Role::ALL.iter().map(move |b| (*a, *b)))
            .filter(|(a, b)| a != b && a.is_within(*b))
            .collect();
        use Role::{Admin, Member, Publisher, Viewer};
        let expected =
            [(Member, Admin), (Publisher, Admin), (Publisher, Member), (Viewer, Admin), (Viewer, Member)];
        assert_eq!(within, expected);
    }
}
