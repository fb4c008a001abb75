//! Expectations for every store, run against each implementation; and further guarantees of the embedded one.

#[path = "store_support/approvals.rs"]
mod approvals;
#[path = "store_support/claims.rs"]
mod claims;
#[path = "store_support/counts.rs"]
mod counts;
#[path = "store_support/embedded.rs"]
mod embedded;
#[path = "store_support/events.rs"]
mod events;
#[path = "store_support/links.rs"]
mod links;
#[path = "store_support/names.rs"]
mod names;
#[path = "store_support/reference.rs"]
mod reference;
#[path = "store_support/rest.rs"]
mod rest;
#[path = "store_support/tasks.rs"]
mod tasks;
#[path = "store_support/world.rs"]
mod world;

/// The list of expectations for one implementation.
macro_rules! conformance {
    ($name:ident, $open:path, $($module:ident: { $($test:ident),* $(,)? })*) => {
        mod $name {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$module::$test($open().await).await;
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
                a_run_makes_up_for_what_waited_under_the_new_name,
                a_renamed_target_keeps_what_it_has, a_removed_connector_frees_its_accounts,
            }
            events: {
                an_event_is_stored_with_its_tasks,
                an_event_that_came_before_is_a_duplicate_and_raises_nothing,
                an_ignored_event_is_stored_and_asks_for_nothing,
                an_event_that_wants_a_run_asks_for_one,
                each_of_many_callers_hears_of_its_own,
                an_event_reaches_every_target,
                events_are_filtered_and_paged,
                replayed_events_put_their_subjects_back_to_work,
            }
            tasks: {
                what_may_take_access_away_from_a_linked_user_goes_first,
                a_hint_adds_no_second_row,
                an_earlier_time_and_a_higher_priority_win,
                claims_go_by_priority_then_time,
                only_these_connectors_on_this_target_are_claimed,
                news_during_work_keep_the_task,
                a_failed_task_comes_back_at_its_time,
                a_dead_letter_waits_for_a_replay_or_news,
                news_during_a_last_attempt_are_worked,
                deferring_uses_up_no_attempt,
                a_deferred_task_tells_its_reason,
                a_settle_event_has_its_subject_looked_at_once_more,
                it_tells_when_the_next_falls_due,
                whoever_waits_is_woken,
                tasks_are_filtered,
            }
            claims: {
                waiting_for_what_has_ended_meanwhile_is_ready_at_once,
                a_claimed_subject_is_given_to_nobody_else,
                a_claimed_account_is_given_to_nobody_else,
                an_ended_claim_writes_nothing,
                an_open_intent_closes_its_subject_until_it_cannot_arrive,
                an_open_intent_closes_its_account_for_everybody,
                an_account_with_anothers_intent_under_way_is_waited_for,
                a_claim_that_ends_with_its_intent_open_raises_the_task,
                a_create_closes_its_name,
                a_link_moves_to_a_new_id_with_all_that_it_knows,
                who_waits_becomes_ready_when_the_other_is_done,
                who_waits_for_a_group_becomes_ready_when_it_is_done,
                who_waits_looks_again_at_the_latest,
                a_rename_that_is_done_frees_the_name,
                a_ring_is_found_by_following_who_waits,
                a_run_works_only_what_nobody_worked_since,
                what_a_run_found_in_order_is_looked_at_again_if_somebody_worked_it,
                a_look_is_never_given_twice,
                whoever_holds_a_subject_hears_of_its_events,
                a_dead_letter_that_fails_in_a_run_stays_dead,
                creates_that_nobody_settles_are_kept_for_a_run,
                many_workers_never_hold_one_subject_or_account_twice,
            }
            approvals: {
                several_are_written_down_together_and_unsent_ones_leave_no_change,
                past_the_limit_nothing_is_sent_but_the_rest_is_written,
                what_is_held_waits_for_a_decision,
                an_approval_is_used_up_by_success_or_a_refusal_for_good,
                an_adoption_uses_its_approval_up,
                a_rejection_that_is_withdrawn_puts_its_subject_back_to_work,
                a_rejection_stands_while_the_same_is_planned,
                an_approval_that_is_needed_no_more_is_withdrawn,
                a_first_run_waits_for_approval,
                an_approved_adopted_group_may_lose_members,
            }
            links: {
                a_dropped_link_leaves_a_change_and_comes_back_with_its_account,
                a_link_comes_back_as_it_was_written,
                what_was_read_of_members_is_kept_until_it_is_old_or_the_server_another,
                links_are_listed_and_found,
                a_link_may_go_to_another_account,
                an_order_about_a_link_is_given_to_whoever_works_the_user,
                who_was_seen_alive_is_remembered,
                a_managed_group_knows_what_feeds_it,
                a_group_with_an_intent_under_way_waits,
                a_renamed_group_is_called_so_for_all_who_feed_it,
            }
            reference: {
                random_histories_agree_with_the_reference,
            }
            rest: {
                hooks_of_removed_connectors_are_remembered,
                a_run_is_written_down,
                a_pair_begins_as_new_and_keeps_its_state,
                identities_are_pinned_until_a_person_confirms,
                a_target_is_pinned_by_its_id_and_the_base_url_that_it_reports,
                another_server_leaves_links_unconfirmed_and_decisions_withdrawn,
                the_same_server_under_another_address_keeps_all_but_compares_its_links,
                only_a_server_of_the_same_id_is_the_same_server,
                a_pair_that_was_stopped_for_its_target_stands_again_where_it_stood,
                a_pause_stays,
                a_run_stays_asked_for_until_it_begins,
                what_an_event_asked_for_is_asked_for_until_a_run_came_to_its_end,
                changes_are_filtered_and_paged,
                what_is_old_goes_and_what_is_open_stays,
                refused_requests_are_counted_until_an_event_is_accepted,
                it_says_that_it_works,
            }
        }
    };
}

every_expectation!(sqlite, crate::world::sqlite);
