/// Makes a `#[tokio::test]` for each case of the suite, with the name of the case. Each test has its own
/// harness.
///
/// The argument is an expression for a [`Harness`](crate::conformance::Harness). It is evaluated in modules
/// below the caller's, so it must use paths that start with `crate::`. The caller's crate needs `tokio` with
/// `macros` and `rt` for its tests.
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr) => {
        $crate::conformance_group! { $harness, intakes [
            an_event_is_stored_with_its_deliveries
            an_event_without_deliveries_is_stored
            an_event_is_read_back_unchanged
            a_delivery_can_be_inserted_with_a_lease
            the_events_of_a_batch_come_before_its_attempts
            an_empty_batch_has_an_empty_outcome
            receipts_are_in_the_order_of_the_events
            the_first_item_of_a_batch_is_refused_alone
            the_middle_item_of_a_batch_is_refused_alone
            the_last_item_of_a_batch_is_refused_alone
            the_same_id_and_digest_again_delivers_nothing
            a_duplicate_within_an_item_delivers_nothing
            a_duplicate_within_a_batch_delivers_nothing
            the_same_id_with_another_digest_is_a_conflict
            an_item_may_be_in_conflict_with_itself
            each_organization_has_its_own_event_ids
            an_intake_matched_before_an_edit_is_stale
            stale_comes_before_conflict
            an_intake_of_an_unknown_organization_is_stale
        ] }
        $crate::conformance_group! { $harness, quotas [
            pending_deliveries_may_reach_the_quota
            an_event_without_deliveries_adds_nothing_pending
            ended_deliveries_make_room
            events_are_accepted_until_the_stored_bytes_reach_the_quota
            the_pending_quota_comes_before_the_byte_quota
            duplicates_are_accepted_over_quota
            a_duplicate_within_an_item_counts_once
            stale_and_conflict_come_before_quota
            an_item_over_quota_does_not_affect_others
            bytes_of_the_same_batch_count
            outcomes_are_recorded_over_quota
            each_organization_has_its_own_quota
        ] }
        $crate::conformance_group! { $harness, cursors [
            a_cursor_advances_with_its_events
            a_cursor_advances_without_events
            a_change_from_another_cursor_is_refused
            the_items_of_a_batch_advance_in_turn
            a_duplicate_item_is_accepted_again
            a_cursor_advances_past_known_events
            stale_and_conflict_come_before_the_change
            a_full_quota_drops_the_events_of_a_change
            a_change_without_new_events_needs_no_quota
            each_organization_has_its_own_cursors
            a_cursor_survives_a_restart
        ] }
        $crate::conformance_group! { $harness, attempts [
            a_success_ends_the_delivery
            a_retry_makes_it_due_again
            spent_attempts_add_up
            a_failed_delivery_says_why
            outcomes_are_read_back_unchanged
            triggers_are_read_back_unchanged
            a_wrong_token_records_nothing
            a_replaced_lease_records_nothing
            an_expired_lease_records_until_it_is_replaced
            a_lease_records_once
            a_superseded_attempt_does_not_affect_others
            a_redelivery_ends_a_pending_delivery_and_its_lease
            a_redelivery_ends_a_failed_delivery
            a_failed_redelivery_leaves_the_schedule
            a_failed_redelivery_leaves_a_finished_delivery
            a_ping_is_stored_with_its_attempt
            a_ping_can_be_redelivered
            an_attempt_of_a_deleted_webhook_is_recorded
            attempts_on_demand_of_a_deleted_webhook_are_recorded
            attempts_of_unknown_deliveries_are_superseded
        ] }
        $crate::conformance_group! { $harness, health [
            health_follows_the_rule
            a_410_suspends
            a_requested_wait_holds_the_lane
            one_delivery_on_demand_ignores_a_requested_wait
            a_user_ends_a_requested_wait
            an_attempt_from_before_an_edit_does_not_affect_health
            failures_over_days_suspend
            a_success_resumes
            a_failed_probe_postpones_the_next_one
            every_attempt_of_a_batch_counts
            a_superseded_attempt_does_not_count
            health_increments_neither_revision_nor_version
            each_webhook_has_its_own_health
        ] }
        $crate::conformance_group! { $harness, queue [
            due_deliveries_are_leased_earliest_first
            deliveries_due_later_are_not_leased
            an_empty_lane_has_no_deliveries
            a_lane_has_its_webhook_and_payloads
            a_leased_delivery_is_not_leased_again
            a_delivery_is_leased_again_when_its_lease_expires
            an_inactive_lane_has_no_deliveries
            a_suspended_lane_has_one_delivery_for_a_probe
            a_deleted_lane_has_no_webhook
            several_lanes_are_leased_at_once
            no_requests_have_no_results
            a_returned_delivery_can_be_leased_at_once
            leases_of_other_holders_are_not_returned
            due_lanes_are_those_with_pending_deliveries
            due_lanes_are_listed_in_pages
        ] }
        $crate::conformance_group! { $harness, changes [
            a_cancelled_delivery_has_its_actor
            an_attempt_of_a_cancelled_delivery_is_recorded
            an_ended_delivery_is_not_cancelled
            a_redelivery_ends_a_cancelled_delivery
            a_retried_pending_delivery_is_due_at_once
            a_retry_keeps_a_lease
            a_retried_ended_delivery_starts_over
            old_leases_stay_void_after_a_retry
            a_succeeded_delivery_is_not_retried
            other_deliveries_are_missing
            deliveries_of_a_deleted_webhook_cannot_be_changed
            changes_have_their_entries
        ] }
        $crate::conformance_group! { $harness, recoveries [
            a_recovery_of_nothing_ends_at_once
            failed_and_cancelled_deliveries_are_recovered
            steps_take_the_oldest_first
            steps_divide_deliveries_with_equal_times
            a_recovery_includes_its_start
            deliveries_that_end_later_are_not_recovered
            no_delivery_is_recovered_twice
            deliveries_retried_meanwhile_are_not_recovered
            a_retried_delivery_is_due_first
            a_deleted_webhooks_recovery_is_abandoned
            a_webhook_has_one_recovery_at_a_time
            a_missing_webhook_has_no_recovery
            a_completed_recovery_stays_unchanged
            recoveries_are_listed
            recoveries_have_their_entries
            old_ended_recoveries_are_removed
        ] }
        $crate::conformance_group! { $harness, webhooks [
            a_created_webhook_is_found
            a_name_is_unique_in_its_scope
            names_differ_by_case
            scopes_do_not_mix
            organizations_do_not_mix
            an_unknown_organization_has_no_webhooks
            a_scope_has_its_limit
            an_edit_replaces_the_editable_fields
            an_edit_of_an_older_revision_is_outdated
            an_edit_of_a_deleted_webhook_is_missing
            an_edit_keeps_health
            activation_ends_a_hold
            a_new_url_or_switching_on_ends_a_suspension
            a_new_secret_ends_a_suspension
            a_deleted_webhooks_name_is_free
            deleting_an_unknown_webhook_returns_none
            webhooks_are_listed_oldest_first
            all_of_an_organizations_webhooks_are_listed_oldest_first
            a_webhook_is_found_by_its_id_in_its_organization_alone
            resuming_ends_a_suspension
            resuming_an_unknown_webhook_returns_false
        ] }
        $crate::conformance_group! { $harness, history [
            an_event_is_found_in_its_organization_only
            events_are_listed_newest_first
            a_delivery_is_found_by_webhook_and_event
            payloads_are_read_back_unchanged
            attempts_are_listed_newest_first
            attempts_are_listed_with_their_delivery
            lists_are_limited_by_size
            durations_are_kept_in_milliseconds
        ] }
        $crate::conformance_group! { $harness, deliveries [
            deliveries_are_listed_newest_first
            filters_combine
            limited_pages_continue_to_the_end
            a_list_without_matches_ends
            organizations_deliveries_do_not_mix
            a_deleted_webhooks_deliveries_are_listed
            an_overview_has_the_current_state
            an_overview_has_the_last_attempt
            a_delivery_is_read_with_its_payload
            a_deliverys_attempts_are_listed
        ] }
        $crate::conformance_group! { $harness, statistics [
            unknown_ids_have_no_tallies
            an_event_counts_once
            attempts_and_ends_are_counted
            pings_are_counted
            superseded_records_are_not_counted
            deliveries_that_a_sweep_ends_are_counted
            ends_are_counted_each_time
            redeliveries_are_counted
            changes_count_in_their_hour
            hours_are_listed_in_order
            an_organizations_hours_are_sums
            organizations_tallies_do_not_mix
            old_hours_are_removed
            pending_is_exact
            stored_bytes_grow_and_shrink
        ] }
        $crate::conformance_group! { $harness, identity [
            a_new_store_is_empty
            a_store_with_a_user_is_not_empty
            a_store_with_an_organization_is_not_empty
            all_first_rows_are_inserted
            the_first_rows_are_inserted_once
            the_name_of_an_organization_is_unique
            an_organization_can_be_created_with_an_admin
            organizations_are_listed_by_name
            a_login_is_unique
            a_user_is_created_with_a_token
            users_are_listed_by_login
            memberships_are_set_changed_and_removed
            the_last_admin_stays
            members_are_listed_by_login
            a_users_token_is_found_with_its_user
            a_service_token_has_one_membership
            an_expired_token_is_still_found
            tokens_are_listed_by_owner
            the_number_of_an_owners_tokens_is_limited
            a_revoked_token_is_removed
            events_of_a_revoked_token_are_kept
            tokens_increment_the_versions_of_their_organizations
            a_holder_has_the_current_versions
            a_users_memberships_are_listed
            a_last_use_is_never_moved_back
        ] }
        $crate::conformance_group! { $harness, keys [
            the_first_data_keys_are_installed
            data_keys_are_installed_once
            data_keys_are_replaced_by_a_rotation
            other_data_keys_replace_nothing
        ] }
        $crate::conformance_group! { $harness, deployments [
            a_credential_is_read_back_unchanged
            a_credential_replaces_the_one_before
            a_removed_credential_is_gone
            credentials_do_not_mix
            credentials_have_their_entries
        ] }
        $crate::conformance_group! { $harness, audit [
            each_change_has_its_entry
            an_action_has_its_entry
            rejected_changes_have_no_entry
            an_entry_is_read_back_unchanged
            entries_are_listed_newest_first
            logs_do_not_mix
        ] }
        $crate::conformance_group! { $harness, maintenance [
            a_sweep_with_nothing_to_do_does_nothing
            a_deleted_webhooks_deliveries_are_cancelled
            old_deliveries_expire
            held_deliveries_expire_later
            retried_deliveries_expire_by_their_new_age
            deliveries_retried_after_a_hold_expire_as_usual
            leased_deliveries_do_not_expire
            an_expired_delivery_is_not_leased
            finished_deliveries_are_removed
            recently_finished_deliveries_are_kept
            pings_are_removed_too
            an_event_with_a_pending_delivery_is_kept
            an_event_without_deliveries_is_removed_by_its_age
            old_audit_entries_are_removed
            a_sweep_keeps_to_its_limit
            depth_counts_pending_deliveries
            lane_depths_separate_due_and_later_deliveries
            lane_depths_mark_held_webhooks
            a_working_store_passes_the_check
        ] }
        $crate::conformance_group! { $harness, instance [
            a_new_store_sends
            sending_is_held_once
            sending_is_resumed_once
            resuming_ends_every_webhooks_hold
            a_resume_without_a_hold_changes_nothing
            deliveries_of_a_hold_expire_later
            held_deliveries_expire_eventually
            a_hold_does_not_affect_the_queue
            commits_and_leases_report_a_hold
            holds_have_their_entries
        ] }
        $crate::conformance_group! { $harness, restart [
            edited_data_survives_a_restart
            history_survives_a_restart
            deliveries_leased_before_a_restart_are_leased_again
            duplicates_are_detected_after_a_restart
            an_embedded_stores_leases_end_with_its_process
            a_recovery_continues_after_a_restart
            counts_credentials_and_hold_survive_a_restart
        ] }
    };
}

/// The cases of one module, for [`conformance_tests!`].
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_group {
    ($harness:expr, $group:ident [$($case:ident)+]) => {
        mod $group {
            $(
                #[tokio::test]
                async fn $case() {
                    $crate::conformance::$group::$case(&$harness).await;
                }
            )+
        }
    };
}
