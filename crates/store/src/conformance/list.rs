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
            an_event_comes_in_with_its_deliveries
            an_event_without_deliveries_is_kept
            an_event_is_kept_whole
            a_delivery_may_be_born_leased
            the_events_of_a_batch_come_before_its_attempts
            an_empty_batch_is_answered
            receipts_are_in_the_order_of_the_events
            the_first_item_of_a_batch_is_refused_alone
            the_middle_item_of_a_batch_is_refused_alone
            the_last_item_of_a_batch_is_refused_alone
            the_same_id_and_digest_again_delivers_nothing
            a_duplicate_within_an_item_delivers_nothing
            a_duplicate_within_a_batch_delivers_nothing
            the_same_id_with_another_digest_is_a_conflict
            an_item_may_be_in_conflict_with_itself
            ids_of_events_are_each_organizations_own
            an_intake_matched_before_an_edit_is_stale
            stale_comes_before_conflict
            an_intake_of_an_unknown_organization_is_stale
        ] }
        $crate::conformance_group! { $harness, quotas [
            as_many_may_be_pending_as_the_quota_says
            an_event_without_deliveries_adds_nothing_pending
            what_has_ended_makes_room
            something_new_comes_in_until_as_much_is_stored
            pending_comes_before_bytes
            duplicates_are_answered_over_quota
            a_duplicate_within_an_item_counts_once
            stale_and_conflict_come_before_quota
            an_item_over_quota_fails_alone
            bytes_of_the_same_batch_count
            outcomes_are_recorded_over_quota
            quotas_are_each_organizations_own
        ] }
        $crate::conformance_group! { $harness, cursors [
            a_cursor_advances_with_its_events
            a_cursor_advances_without_events
            a_change_from_another_cursor_is_refused
            the_items_of_a_batch_advance_in_turn
            a_duplicate_item_is_answered_again
            a_cursor_advances_past_known_events
            stale_and_conflict_come_before_the_change
            a_full_quota_drops_the_events_of_a_change
            a_change_without_new_events_needs_no_quota
            cursors_are_each_organizations_own
            a_cursor_outlives_a_restart
        ] }
        $crate::conformance_group! { $harness, attempts [
            a_success_ends_the_delivery
            a_retry_makes_it_due_again
            spent_attempts_add_up
            a_failed_delivery_says_why
            outcomes_are_kept_whole
            triggers_are_kept
            a_wrong_token_records_nothing
            a_lease_that_another_took_over_records_nothing
            a_lease_that_ran_out_records_until_another_takes_over
            a_lease_records_once
            a_superseded_attempt_fails_alone
            a_redelivery_ends_a_pending_delivery_and_its_lease
            a_redelivery_ends_a_failed_delivery
            a_failed_redelivery_leaves_the_schedule
            a_failed_redelivery_leaves_a_finished_delivery
            a_ping_is_kept_with_its_attempt
            a_ping_can_be_redelivered
            an_attempt_of_a_deleted_webhook_is_recorded
            what_a_person_asked_of_a_deleted_webhook_is_recorded
            attempts_of_unknown_deliveries_are_superseded
        ] }
        $crate::conformance_group! { $harness, health [
            health_follows_the_rule
            a_410_suspends
            an_endpoint_that_asks_to_wait_is_left_alone
            one_delivery_may_be_asked_for_while_an_endpoint_asks_to_wait
            a_person_ends_what_an_endpoint_asked_for
            an_attempt_from_before_an_edit_leaves_health_alone
            failing_for_days_suspends
            a_success_resumes
            a_failed_probe_puts_the_next_one_off
            every_attempt_of_a_batch_counts
            a_superseded_attempt_does_not_count
            health_bumps_neither_revision_nor_version
            health_is_each_webhooks_own
        ] }
        $crate::conformance_group! { $harness, queue [
            what_is_due_comes_earliest_first
            what_is_not_due_yet_stays
            an_empty_lane_gives_nothing
            a_lane_gives_all_that_sending_needs
            what_is_leased_is_not_leased_twice
            an_expired_lease_is_taken_again
            an_inactive_lane_gives_nothing
            a_suspended_lane_gives_one_to_a_probe
            a_deleted_lane_says_so
            several_lanes_are_leased_at_once
            no_lanes_give_none
            what_is_given_back_can_be_had_at_once
            only_ones_own_lease_is_given_back
            due_lanes_are_those_with_something_pending
            due_lanes_come_in_pages
        ] }
        $crate::conformance_group! { $harness, changes [
            a_cancelled_delivery_says_by_whom
            an_attempt_of_a_cancelled_delivery_is_recorded
            what_has_ended_is_not_cancelled
            a_redelivery_ends_a_cancelled_delivery
            a_pending_delivery_is_hastened
            hastening_keeps_a_lease
            what_did_not_arrive_begins_anew
            beginning_anew_leaves_old_leases_void
            what_succeeded_is_not_tried_anew
            what_cannot_be_changed_is_missing
            a_deleted_webhooks_deliveries_are_left_alone
            changes_have_their_entries
        ] }
        $crate::conformance_group! { $harness, recoveries [
            a_recovery_of_nothing_ends_at_once
            what_did_not_arrive_is_recovered
            steps_take_the_oldest_first
            steps_part_those_of_one_moment
            a_recovery_begins_at_its_moment
            what_ended_later_is_left_alone
            nothing_is_recovered_twice
            what_people_did_meanwhile_stands
            a_retried_delivery_goes_first
            a_deleted_webhooks_recovery_is_abandoned
            a_webhook_has_one_recovery_at_a_time
            a_missing_webhook_has_no_recovery
            a_recovery_that_is_done_stays_done
            recoveries_are_listed
            recoveries_have_their_entries
            old_recoveries_go_once_they_have_ended
        ] }
        $crate::conformance_group! { $harness, webhooks [
            a_created_webhook_is_there
            a_name_is_taken_in_its_scope_alone
            names_differ_by_case
            scopes_do_not_mix
            organizations_do_not_mix
            an_unknown_organization_has_no_webhooks
            a_scope_has_its_limit
            an_edit_replaces_what_can_be_edited
            an_edit_of_an_older_revision_is_outdated
            an_edit_of_a_deleted_webhook_is_missing
            an_edit_leaves_health
            activation_ends_a_hold
            a_new_url_or_switching_on_ends_a_suspension
            a_new_secret_ends_a_suspension
            a_deleted_webhooks_name_is_free
            deleting_what_is_not_there_says_so
            webhooks_are_listed_oldest_first
            all_of_an_organizations_webhooks_are_listed_oldest_first
            a_webhook_is_found_by_its_id_in_its_organization_alone
            resuming_ends_a_suspension
            resuming_what_is_not_there_says_so
        ] }
        $crate::conformance_group! { $harness, history [
            an_event_is_found_by_its_organization_alone
            events_are_listed_newest_first
            a_delivery_is_found_by_webhook_and_event
            payloads_are_kept_to_the_byte
            attempts_are_listed_newest_first
            attempts_are_listed_with_their_delivery
            lists_are_cut_by_bytes_too
            durations_are_kept_in_milliseconds
        ] }
        $crate::conformance_group! { $harness, deliveries [
            deliveries_are_listed_newest_first
            filters_combine
            bounded_pages_go_on_to_the_end
            a_search_for_nothing_ends
            organizations_deliveries_do_not_mix
            a_deleted_webhooks_deliveries_are_listed
            an_overview_says_what_the_delivery_is
            an_overview_has_the_last_attempt
            a_delivery_comes_with_its_bytes
            a_deliverys_attempts_are_listed
        ] }
        $crate::conformance_group! { $harness, statistics [
            nothing_has_no_tallies
            an_event_counts_once
            attempts_and_ends_are_counted
            pings_are_counted
            superseded_records_are_not_counted
            what_a_sweep_ends_is_counted
            ends_are_counted_each_time
            redeliveries_are_counted
            things_count_in_their_hour
            hours_are_listed_by_when_they_began
            an_organizations_hours_are_its_webhooks_together
            organizations_tallies_do_not_mix
            old_hours_go
            pending_is_exact
            stored_bytes_grow_and_shrink
        ] }
        $crate::conformance_group! { $harness, identity [
            a_new_store_is_empty
            a_store_with_a_user_is_not_empty
            a_store_with_an_organization_is_not_empty
            beginnings_are_all_there
            a_store_begins_once
            an_organizations_name_is_taken_once
            an_organization_may_come_with_an_admin
            organizations_are_listed_by_name
            a_login_is_taken_once
            a_user_comes_with_a_token
            users_are_listed_by_login
            memberships_come_change_and_go
            the_last_admin_stays
            members_are_listed_by_login
            a_users_token_is_found_with_its_user
            a_service_token_is_its_organizations
            an_expired_token_is_still_found
            tokens_are_listed_by_owner
            an_owner_has_so_many_tokens
            a_revoked_token_is_gone
            a_revoked_tokens_events_stay
            tokens_bump_the_versions_they_are_good_for
            a_holder_comes_with_the_versions_it_is_of
            a_users_memberships_are_listed
            a_last_use_never_goes_back
        ] }
        $crate::conformance_group! { $harness, keys [
            the_first_data_keys_are_installed
            data_keys_are_installed_once
            data_keys_are_sealed_anew
            other_data_keys_replace_nothing
        ] }
        $crate::conformance_group! { $harness, deployments [
            a_credential_is_kept_whole
            a_credential_replaces_the_one_before
            a_removed_credential_is_gone
            credentials_do_not_mix
            credentials_have_their_entries
        ] }
        $crate::conformance_group! { $harness, audit [
            each_change_has_its_entry
            an_act_has_its_entry
            what_was_refused_has_no_entry
            an_entry_is_kept_whole
            entries_are_listed_newest_first
            logs_do_not_mix
        ] }
        $crate::conformance_group! { $harness, maintenance [
            a_sweep_with_nothing_to_do_does_nothing
            a_deleted_webhooks_deliveries_are_cancelled
            what_is_too_old_expires
            what_is_or_was_held_expires_later
            what_was_tried_anew_expires_at_its_new_age
            what_was_tried_anew_after_a_hold_was_not_held
            what_is_leased_does_not_expire
            an_expired_delivery_is_not_leased
            what_is_finished_goes
            what_finished_lately_stays
            pings_go_too
            a_pending_deliverys_event_stays
            a_lonely_event_goes_by_its_age
            old_audit_entries_go
            a_sweep_keeps_to_its_limit
            depth_counts_what_is_pending
            lane_depths_tell_due_from_later
            lane_depths_mark_what_is_held
            a_store_that_works_says_so
        ] }
        $crate::conformance_group! { $harness, instance [
            a_new_store_sends
            sending_is_held_once
            sending_is_resumed_once
            resuming_ends_every_webhooks_hold
            resuming_what_is_not_held_marks_nothing
            what_a_hold_covers_expires_later
            what_is_held_expires_at_last
            a_hold_leaves_the_queue_alone
            commits_and_leases_tell_of_a_hold
            holds_have_their_entries
        ] }
        $crate::conformance_group! { $harness, restart [
            what_people_edit_outlives_a_restart
            what_happened_outlives_a_restart
            what_was_leased_before_a_restart_comes_again
            duplicates_are_known_after_a_restart
            an_embedded_stores_leases_end_with_its_process
            a_recovery_goes_on_after_a_restart
            what_concerns_the_whole_outlives_a_restart
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
