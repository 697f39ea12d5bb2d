//! The requests of each public client, and the responses that it needs. Each case has a test against the built binary.
//!
//! The tests are generated from the table below: an unlisted case is dead code, and a listed case without a function does
//! not compile. [`table`] checks that the numbers are complete.

mod cli_env;
mod cli_org;
mod cli_stack;
mod provider_api;
mod provider_v0;
mod support;
mod table;

macro_rules! cases {
    ($($module:ident: $($name:ident)*;)*) => {
        /// The names of this target's tests.
        const NAMES: &[&str] = &[$($(stringify!($name),)*)*];

        $($(
            #[tokio::test]
            async fn $name() {
                $module::$name().await;
            }
        )*)*
    };
}

cases! {
    cli_stack:
        s01_new
        s02_new_with_events_secret_and_format
        s03_new_with_the_groups_offered
        s04_duplicate_or_invalid
        s05_list
        s06_get
        s07_edit_sends_the_whole_object_back
        s08_edit_removes_the_last_event
        s09_edit_removes_the_secret
        s10_edit_keeps_the_secret
        s11_lists_come_back_as_stored
        s12_remove
        s13_ping
        s14_delivery_list
        s15_delivery_redeliver;
    cli_org:
        o01_new
        o02_new_with_the_groups_offered
        o03_list
        o04_edit
        o05_remove_ping_delivery_list;
    cli_env:
        e01_new
        e02_list_and_get
        e03_edit_without_organization
        e04_edit_replaces_the_lists
        e05_edit_removes_the_secret
        e06_remove_ping_delivery_list;
    provider_v0:
        v01_create
        v02_two_alike
        v03_slack_with_secret_groups_and_filters
        v04_environment_with_filters
        v05_update
        v06_refresh_and_import
        v07_ciphertext_changes_with_the_secret_alone
        v08_delete
        v09_errors;
    provider_api:
        a01_create_with_a_name
        a02_create_without_a_name
        a03_answers_hold_no_secret_and_no_null
        a04_update
        a05_refresh_shows_no_difference
        a06_replaced_under_the_same_name
        a07_delete
        a08_list_and_sweep
        a09_ids;
}
