//! Who may do what: one table, as data.

/// What somebody may be in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything in the organization.
    Admin,
    /// Stacks, stack and environment webhooks, publish, redeliver, recover.
    Member,
    /// Publish events, and nothing else.
    Publisher,
    /// Read, without payload URLs and signatures.
    Viewer,
}

impl Role {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Admin, Self::Member, Self::Publisher, Self::Viewer];

    /// The word for it everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Publisher => "publisher",
            Self::Viewer => "viewer",
        }
    }

    /// Reads that word; `None` when there is no such role.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == text)
    }

    /// Whether this role may do a thing in its organization.
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

    /// Whether this role may do nothing that `other` may not: what a token's role must be to its maker's.
    pub fn is_within(self, other: Self) -> bool {
        Permission::ALL.iter().all(|permission| !self.may(*permission) || other.may(*permission))
    }
}

/// A thing that can be done in an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See webhooks, deliveries and events.
    Read,
    /// See payload URLs whole, and recorded signatures.
    SeeCredentials,
    /// Create, edit, delete webhooks of the organization itself.
    EditOrganizationWebhooks,
    /// Create, edit, delete webhooks of stacks and environments.
    EditScopedWebhooks,
    /// Ping, redeliver, retry, cancel, recover, resume.
    Redeliver,
    /// Publish events.
    Publish,
    /// See who belongs to it.
    ReadMembers,
    /// Change who belongs to it, and its service tokens.
    EditMembers,
    /// See and change what starts other stacks' deployments.
    EditDeployments,
    /// Read the audit log.
    ReadAudit,
}

impl Permission {
    /// All of them.
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

    /// What it lets one do, to follow "may not".
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
        // One line a permission; columns: admin, member, publisher, viewer.
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
