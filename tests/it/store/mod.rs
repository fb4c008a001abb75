//! Expectations for every store, run against each implementation; and further guarantees of the embedded one.

mod approvals;
mod changes;
mod claims;
mod counts;
mod embedded;
mod events;
mod housekeeping;
mod identities;
mod links;
mod names;
mod pairs;
mod reference;
mod runs;
mod step_batches;
mod tasks;

mod world;

/// The list of expectations for one implementation.
macro_rules! conformance {
    ($name:ident, $open:path, $($module:ident: { $($test:ident),* $(,)? })*) => {
        mod $name {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::store::$module::$test($open().await).await;
                })*
            })*
        }
    };
}

/// Every store gets the same tests.
macro_rules! every_expectation {
    ($name:ident, $open:path) => {
        conformance! { $name, $open,
            names: {
                a_renamed_connector_keeps_what_it_has, a_new_name_that_has_links_is_refused,
                a_run_replaces_the_tasks_under_the_new_name,
                a_renamed_target_keeps_what_it_has, a_removed_connector_frees_its_accounts,
            }
            events: {
                an_event_is_stored_with_its_tasks,
                a_repeated_event_is_a_duplicate_and_creates_no_task,
                an_ignored_event_is_stored_and_requests_nothing,
                an_event_that_needs_a_run_requests_one,
                each_of_many_callers_gets_its_own_result,
                an_event_reaches_every_target,
                events_are_filtered_and_paged,
                replayed_events_make_their_subjects_due,
                a_polled_event_is_the_same_event_as_the_pushed_one,
                hours_with_events_are_counted,
                the_state_of_polling_is_kept,
            }
            tasks: {
                tasks_that_may_revoke_access_of_a_linked_user_have_priority,
                a_hint_adds_no_second_row,
                an_earlier_time_and_a_higher_priority_win,
                claims_go_by_priority_then_time,
                only_these_connectors_on_this_target_are_claimed,
                a_hint_during_work_keeps_the_task,
                a_failed_task_is_due_again_at_its_time,
                a_dead_letter_waits_for_a_replay_or_a_hint,
                a_hint_during_a_last_attempt_is_worked,
                deferring_uses_up_no_attempt,
                a_deferred_task_has_its_reason,
                a_recheck_event_has_its_subject_read_once_more,
                a_subject_that_is_due_again_has_a_task_that_counts_as_raised_then,
                it_returns_when_the_next_task_is_due,
                a_waiting_worker_is_woken,
                tasks_are_filtered,
            }
            claims: {
                waiting_for_a_claim_that_has_ended_is_ready_at_once,
                a_claimed_subject_is_claimed_by_no_other_worker,
                a_claimed_account_is_claimed_by_no_other_worker,
                a_group_removes_only_an_account_that_no_link_and_no_claim_has,
                an_ended_claim_writes_nothing,
                an_open_intent_closes_its_subject_until_it_cannot_arrive,
                an_open_intent_closes_its_account_for_all_workers,
                a_task_waits_for_an_account_with_an_open_intent_of_another,
                a_claim_that_ends_with_its_intent_open_raises_the_task,
                a_create_closes_its_name,
                a_link_moves_to_a_new_id_with_all_its_data,
                a_waiting_task_becomes_ready_when_the_other_is_done,
                a_task_that_waits_for_a_group_becomes_ready_when_it_is_done,
                a_waiting_task_is_due_after_a_maximum_wait,
                a_rename_that_is_done_frees_the_name,
                a_ring_is_found_by_following_waiting_tasks,
                a_run_works_only_subjects_that_were_not_worked_since,
                a_subject_that_a_run_found_in_sync_is_read_again_if_it_was_worked_meanwhile,
                an_observation_is_never_issued_twice,
                the_claim_of_a_subject_is_notified_of_its_events,
                a_dead_letter_that_fails_in_a_run_stays_dead,
                creates_without_recovery_are_kept_for_a_run,
                many_workers_never_claim_one_subject_or_account_twice,
            }
            approvals: {
                several_intents_are_written_as_a_batch_and_unsent_ones_leave_no_change,
                past_the_limit_nothing_is_sent_but_the_rest_is_written,
                operations_past_a_limit_wait_for_a_decision,
                an_approval_is_used_up_by_success_or_a_refusal_for_good,
                an_adoption_uses_its_approval_up,
                a_withdrawn_rejection_makes_its_subject_due,
                a_rejection_is_kept_while_the_same_is_planned,
                an_approval_that_is_needed_no_more_is_withdrawn,
                a_first_run_waits_for_approval,
                an_approved_adopted_group_may_lose_members,
            }
            links: {
                a_dropped_link_leaves_a_change_and_is_restored_with_its_account,
                a_link_is_read_back_as_it_was_written,
                observed_members_are_kept_until_they_expire_or_the_server_changes,
                the_path_of_a_group_is_replaced_only_if_it_is_as_read,
                a_requested_run_is_requested_once,
                links_are_listed_and_found,
                a_link_can_move_to_another_account,
                a_link_order_is_part_of_the_claim_of_its_user,
                the_last_time_a_user_was_observed_alive_is_stored,
                linked_users_of_a_federation_provider_are_listed,
                a_managed_group_stores_its_sources,
                a_group_with_an_open_intent_waits,
                a_renamed_group_has_its_new_name_for_all_its_sources,
            }
            reference: {
                random_histories_agree_with_the_reference,
            }
            runs: {
                a_run_is_recorded,
                a_run_in_progress_has_its_progress_and_can_be_cancelled,
                a_run_stays_requested_until_it_begins,
                a_run_requested_by_an_event_stays_requested_until_a_run_completes,
            }
            pairs: {
                a_pair_begins_as_new_and_keeps_its_state,
                a_pair_stopped_for_its_target_resumes_its_previous_state,
                a_pause_stays,
            }
            identities: {
                identities_are_pinned_until_an_operator_confirms,
                a_target_is_pinned_by_its_id_and_the_base_url_that_it_reports,
                another_server_leaves_links_unconfirmed_and_decisions_withdrawn,
                the_same_server_under_another_address_keeps_all_but_compares_its_links,
                only_a_server_of_the_same_id_is_the_same_server,
            }
            changes: {
                changes_are_filtered_and_paged,
            }
            housekeeping: {
                hooks_of_removed_connectors_are_stored,
                old_records_are_pruned_and_open_ones_kept,
                refused_requests_are_counted_until_an_event_is_accepted,
                the_state_of_an_alert_is_kept,
                alerts_that_are_gone_are_forgotten,
                what_happened_to_a_pair_is_counted,
                it_reports_that_it_works,
            }
        }
    };
}

every_expectation!(sqlite, crate::store::world::sqlite);
