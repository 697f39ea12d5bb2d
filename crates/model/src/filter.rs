//! Kinds, filters and groups: three types for three lists on the wire.
//! Source of all tables here: wire-facts.md#kinds-filters-groups.

use std::fmt;

use crate::scope::ScopeKind;

macro_rules! closed_list {
    ($(#[$doc:meta])* $name:ident { $($variant:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)+
        }

        impl $name {
            /// All values, in table order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The spelling on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Parses the wire spelling; `None` when it is unknown.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

closed_list! {
    /// The kind of an event's payload, sent as `Pulumi-Webhook-Kind`.
    /// A ping is not an event: see [`crate::delivery::Trigger::Ping`].
    EventKind {
        Stack => "stack",
        StackPreview => "stack_preview",
        StackUpdate => "stack_update",
        Deployment => "deployment",
        DriftDetection => "drift_detection",
        DriftRemediation => "drift_remediation",
        DeploymentFileIngestion => "deployment_file_ingestion",
        PolicyViolation => "policy_violation",
        Environment => "environment",
        EnvironmentRevision => "environment_revision",
        EnvironmentRevisionTag => "environment_revision_tag",
        EnvironmentTag => "environment_tag",
        ImportedEnvironmentChanged => "imported_environment_changed",
        EnvironmentRotation => "environment_rotation",
        ChangeRequest => "change_request",
    }
}

closed_list! {
    /// A named set of filters, in alphabetical order as on the wire.
    Group {
        ChangeRequests => "change_requests",
        Deployments => "deployments",
        Environments => "environments",
        Policies => "policies",
        Stacks => "stacks",
    }
}

macro_rules! filters {
    ($($variant:ident $text:literal $kind:ident $group:ident [$($scope:ident)+],)+) => {
        closed_list! {
            /// A filter that a webhook can list.
            Filter { $($variant => $text,)+ }
        }

        impl Filter {
            /// The kind of the events that it selects.
            pub const fn kind(self) -> EventKind {
                match self { $(Self::$variant => EventKind::$kind,)+ }
            }

            /// The group that contains it.
            pub const fn group(self) -> Group {
                match self { $(Self::$variant => Group::$group,)+ }
            }

            /// The scopes whose webhooks may use it.
            pub const fn scopes(self) -> &'static [ScopeKind] {
                match self { $(Self::$variant => &[$(ScopeKind::$scope),+],)+ }
            }
        }
    };
}

filters! {
    StackCreated "stack_created" Stack Stacks [Organization],
    StackDeleted "stack_deleted" Stack Stacks [Organization],
    PreviewSucceeded "preview_succeeded" StackPreview Stacks [Organization Stack],
    PreviewFailed "preview_failed" StackPreview Stacks [Organization Stack],
    UpdateSucceeded "update_succeeded" StackUpdate Stacks [Organization Stack],
    UpdateFailed "update_failed" StackUpdate Stacks [Organization Stack],
    DestroySucceeded "destroy_succeeded" StackUpdate Stacks [Organization Stack],
    DestroyFailed "destroy_failed" StackUpdate Stacks [Organization Stack],
    RefreshSucceeded "refresh_succeeded" StackUpdate Stacks [Organization Stack],
    RefreshFailed "refresh_failed" StackUpdate Stacks [Organization Stack],
    ImportSucceeded "import_succeeded" StackUpdate Stacks [Organization Stack],
    ImportFailed "import_failed" StackUpdate Stacks [Organization Stack],
    DeploymentQueued "deployment_queued" Deployment Deployments [Organization Stack],
    DeploymentStarted "deployment_started" Deployment Deployments [Organization Stack],
    DeploymentSucceeded "deployment_succeeded" Deployment Deployments [Organization Stack],
    DeploymentFailed "deployment_failed" Deployment Deployments [Organization Stack],
    DriftDetected "drift_detected" DriftDetection Deployments [Organization Stack],
    DriftDetectionSucceeded "drift_detection_succeeded" DriftDetection Deployments [Organization Stack],
    DriftDetectionFailed "drift_detection_failed" DriftDetection Deployments [Organization Stack],
    DriftRemediationSucceeded "drift_remediation_succeeded" DriftRemediation Deployments [Organization Stack],
    DriftRemediationFailed "drift_remediation_failed" DriftRemediation Deployments [Organization Stack],
    DeploymentFileIngestionFailed "deployment_file_ingestion_failed" DeploymentFileIngestion Deployments [Organization Stack],
    PolicyViolationMandatory "policy_violation_mandatory" PolicyViolation Policies [Organization Stack],
    PolicyViolationAdvisory "policy_violation_advisory" PolicyViolation Policies [Organization Stack],
    // The provider accepts these two on an environment's own webhook, although they cannot fire there.
    EnvironmentCreated "environment_created" Environment Environments [Organization Environment],
    EnvironmentDeleted "environment_deleted" Environment Environments [Organization Environment],
    EnvironmentRevisionCreated "environment_revision_created" EnvironmentRevision Environments [Organization Environment],
    EnvironmentRevisionRetracted "environment_revision_retracted" EnvironmentRevision Environments [Organization Environment],
    EnvironmentRevisionTagCreated "environment_revision_tag_created" EnvironmentRevisionTag Environments [Organization Environment],
    EnvironmentRevisionTagUpdated "environment_revision_tag_updated" EnvironmentRevisionTag Environments [Organization Environment],
    EnvironmentRevisionTagDeleted "environment_revision_tag_deleted" EnvironmentRevisionTag Environments [Organization Environment],
    EnvironmentTagCreated "environment_tag_created" EnvironmentTag Environments [Organization Environment],
    EnvironmentTagUpdated "environment_tag_updated" EnvironmentTag Environments [Organization Environment],
    EnvironmentTagDeleted "environment_tag_deleted" EnvironmentTag Environments [Organization Environment],
    ImportedEnvironmentChanged "imported_environment_changed" ImportedEnvironmentChanged Environments [Organization Environment],
    EnvironmentRotationSucceeded "environment_rotation_succeeded" EnvironmentRotation Environments [Organization Environment],
    EnvironmentRotationFailed "environment_rotation_failed" EnvironmentRotation Environments [Organization Environment],
    ChangeRequestCreated "change_request_created" ChangeRequest ChangeRequests [Organization Environment],
    ChangeRequestUpdated "change_request_updated" ChangeRequest ChangeRequests [Organization Environment],
    ChangeRequestSubmitted "change_request_submitted" ChangeRequest ChangeRequests [Organization Environment],
    ChangeRequestApproved "change_request_approved" ChangeRequest ChangeRequests [Organization Environment],
    ChangeRequestUnapproved "change_request_unapproved" ChangeRequest ChangeRequests [Organization Environment],
    ChangeRequestApplied "change_request_applied" ChangeRequest ChangeRequests [Organization Environment],
    ChangeRequestClosed "change_request_closed" ChangeRequest ChangeRequests [Organization Environment],
}

impl Filter {
    /// Returns true if a webhook of this scope may use the filter.
    pub fn allowed_in(self, scope: ScopeKind) -> bool {
        self.scopes().contains(&scope)
    }
}

impl Group {
    /// The filters in the group, in table order.
    pub fn filters(self) -> impl Iterator<Item = Filter> {
        Filter::ALL.iter().copied().filter(move |filter| filter.group() == self)
    }

    /// Returns true if a webhook of this scope may use any filter of the group.
    pub fn allowed_in(self, scope: ScopeKind) -> bool {
        self.filters().any(|filter| filter.allowed_in(scope))
    }
}

/// A set of filters in one machine word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FilterSet(u64);

impl FilterSet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);

    /// Returns the set with `filter` added.
    pub const fn with(self, filter: Filter) -> Self {
        Self(self.0 | 1 << filter as u64)
    }

    /// Returns true if the sets have a filter in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The filters in the set, in table order.
    pub fn iter(self) -> impl Iterator<Item = Filter> {
        Filter::ALL.iter().copied().filter(move |filter| self.0 & 1 << *filter as u64 != 0)
    }
}

impl FromIterator<Filter> for FilterSet {
    fn from_iter<I: IntoIterator<Item = Filter>>(filters: I) -> Self {
        filters.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// Filters and groups as a webhook lists them. Filters keep their order, groups are sorted, and both keep
/// duplicates, because clients compare the lists with those that they sent. Groups are never expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    filters: Vec<Filter>,
    groups: Vec<Group>,
}

/// A filter or group that a webhook of this scope may not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// See the message.
    #[error("'{filter}' cannot be used on {} webhooks", .scope.as_str())]
    Filter {
        /// The filter.
        filter: Filter,
        /// The scope.
        scope: ScopeKind,
    },
    /// See the message.
    #[error("'{group}' cannot be used on {} webhooks", .scope.as_str())]
    Group {
        /// The group.
        group: Group,
        /// The scope.
        scope: ScopeKind,
    },
}

/// A subscription prepared for matching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Every event in the webhook's scope, including events without filters.
    All,
    /// Events with at least one of these filters.
    Only(FilterSet),
}

impl Selection {
    /// Returns true if an event with these filters is selected.
    pub const fn selects(self, filters: FilterSet) -> bool {
        match self {
            Self::All => true,
            Self::Only(wanted) => wanted.intersects(filters),
        }
    }
}

impl Subscription {
    /// Validates the lists of a webhook of `scope`.
    ///
    /// # Errors
    /// [`SubscriptionError`], with the first filter or group that such a webhook may not use.
    pub fn new(
        scope: ScopeKind,
        filters: impl IntoIterator<Item = Filter>,
        groups: impl IntoIterator<Item = Group>,
    ) -> Result<Self, SubscriptionError> {
        let mut subscription = Self::default();
        for filter in filters {
            if !filter.allowed_in(scope) {
                return Err(SubscriptionError::Filter { filter, scope });
            }
            subscription.filters.push(filter);
        }
        for group in groups {
            if !group.allowed_in(scope) {
                return Err(SubscriptionError::Group { group, scope });
            }
            subscription.groups.push(group);
        }
        subscription.groups.sort();
        Ok(subscription)
    }

    /// The filters, in the order in which they were sent.
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// The groups, in alphabetical order.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = Group> {
        self.groups.iter().copied()
    }

    /// The resulting selection: the filters and all filters of the groups, or everything when both are empty.
    pub fn selection(&self) -> Selection {
        if self.filters.is_empty() && self.groups.is_empty() {
            return Selection::All;
        }
        let of_groups = self.groups.iter().flat_map(|group| group.filters());
        Selection::Only(self.filters.iter().copied().chain(of_groups).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_reads_back() {
        assert_eq!(Filter::ALL.len(), 44);
        assert!(Filter::ALL.iter().all(|f| Filter::parse(f.as_str()) == Some(*f)));
        assert!(Group::ALL.iter().all(|g| Group::parse(g.as_str()) == Some(*g)));
        assert!(EventKind::ALL.iter().all(|k| EventKind::parse(k.as_str()) == Some(*k)));
        assert_eq!(EventKind::parse("ping"), None);
    }

    #[test]
    fn groups_hold_where_one_of_their_filters_does() {
        let allowed = |scope| -> Vec<_> {
            Group::ALL.iter().filter(|g| g.allowed_in(scope)).map(|g| g.as_str()).collect()
        };
        assert_eq!(
            allowed(ScopeKind::Organization),
            ["change_requests", "deployments", "environments", "policies", "stacks"]
        );
        assert_eq!(allowed(ScopeKind::Stack), ["deployments", "policies", "stacks"]);
        assert_eq!(allowed(ScopeKind::Environment), ["change_requests", "environments"]);
    }

    #[test]
    fn nothing_asked_for_means_everything() {
        let all = Subscription::default().selection();
        assert_eq!(all, Selection::All);
        assert!(all.selects(FilterSet::EMPTY));
        let one = Subscription::new(ScopeKind::Stack, [Filter::UpdateFailed], []).expect("allowed");
        assert!(!one.selection().selects(FilterSet::EMPTY));
        assert!(one.selection().selects(FilterSet::EMPTY.with(Filter::UpdateFailed)));
        let group = Subscription::new(ScopeKind::Stack, [], [Group::Stacks]).expect("allowed");
        assert!(group.selection().selects(FilterSet::EMPTY.with(Filter::UpdateFailed)));
        assert!(!group.selection().selects(FilterSet::EMPTY.with(Filter::DeploymentFailed)));
    }

    #[test]
    fn filters_keep_their_order_groups_are_sorted_and_both_keep_doubles() {
        let sent = [Filter::UpdateFailed, Filter::PreviewFailed, Filter::UpdateFailed];
        let groups = [Group::Stacks, Group::ChangeRequests, Group::Stacks];
        let subscription = Subscription::new(ScopeKind::Organization, sent, groups).expect("allowed");
        assert_eq!(subscription.filters(), sent);
        assert_eq!(
            subscription.groups().collect::<Vec<_>>(),
            [Group::ChangeRequests, Group::Stacks, Group::Stacks]
        );
    }

    #[test]
    fn out_of_scope_is_refused_by_name() {
        let refused = Subscription::new(ScopeKind::Stack, [Filter::StackCreated], []);
        assert_eq!(
            refused.map_err(|e| e.to_string()),
            Err("'stack_created' cannot be used on stack webhooks".to_owned())
        );
    }
}
