//! Containers for real: on this kernel, as root, with BusyBox inside. This program is also the stage that it starts,
//! as PID 1 is on a device; therefore it has a main of its own, that of [`harness`], which also looks after each test
//! for what it has left behind.

mod calls;
mod confinement;
mod consoles;
mod entering;
mod exports;
mod hooks;
mod images;
mod lifecycle;
mod mounts;
mod resources;
mod users;
mod world;

use std::process::ExitCode;

use harness::{Test, tests};
use world::World;

const TESTS: &[Test<World>] = tests! {
    lifecycle::{
        the_program_is_pid_one_inside_and_a_child_of_this_process_outside,
        an_exit_code_and_a_signal_are_told_apart,
        a_container_gets_its_own_arguments_variables_and_directory,
        nothing_of_the_parent_is_inherited,
        a_failing_step_is_reported_with_its_place,
        killing_the_group_kills_all_of_it,
        a_frozen_container_stands_still_and_goes_on,
        a_container_that_uses_up_its_memory_is_told_by_that_name,
        who_reboots_itself_or_powers_itself_off_is_told_by_that_name,
        the_init_of_busybox_is_asked_in_its_own_language_and_powers_itself_off,
        a_container_cannot_have_more_tasks_than_its_limit,
        what_an_earlier_life_has_left_is_swept,
    }
    mounts::{
        a_write_goes_to_the_upper_layer_and_not_to_the_lower,
        upper_layers_cover_lower_ones,
        a_root_without_a_writable_layer_refuses_writes,
        a_symbolic_link_of_an_image_does_not_lead_out,
        entries_are_mounted_in_order_and_as_they_say,
        a_block_device_is_mounted_by_the_container_that_names_it,
        a_source_within_a_directory_does_not_lead_out_of_it,
        a_link_that_is_turned_while_it_is_looked_up_leads_nowhere_else,
        an_optional_mount_may_be_missing_and_no_other,
        nothing_that_is_mounted_inside_is_seen_outside,
        a_container_keeps_no_mount_of_the_device_alive,
        a_root_that_cannot_be_pivoted_is_covered,
    }
    confinement::{
        a_container_has_a_host_name_of_its_own,
        a_network_of_its_own_has_a_way_to_itself,
        a_shared_namespace_is_the_device_s,
        a_container_sees_its_group_as_the_root_of_all,
        dev_holds_what_programs_expect_and_nothing_else,
        what_is_written_to_the_console_is_logged,
        proc_and_sys_are_as_writable_as_the_launch_says,
        the_network_of_the_device_is_set_up_by_those_who_may_administer_it,
        masked_paths_are_empty_and_protected_ones_read_only,
        what_is_forbidden_in_addition_is_forbidden_at_that_place_and_not_below,
        capabilities_outside_the_bounding_set_are_gone,
        another_user_has_the_ambient_capabilities_and_no_others,
        keys_of_the_device_are_out_of_reach,
        a_filter_of_system_calls_is_in_force,
        limits_are_in_force,
    }
    consoles::{
        a_system_has_a_terminal_as_its_console_which_controls_nobody,
        a_console_for_users_of_its_own_is_as_for_every_container,
        a_console_that_is_hung_up_is_one_again_when_it_is_opened,
        a_console_comes_beside_as_many_terminals_as_a_container_may_make,
        a_stage_that_fails_before_there_is_a_console_leaves_none,
        the_end_of_a_container_ends_what_its_console_says,
    }
    entering::{
        what_enters_is_what_the_container_is,
        who_enters_has_the_users_of_the_container,
        an_entered_program_has_nothing_of_the_device_open,
        the_end_of_an_entered_program_is_told_and_why_there_is_none,
        bytes_go_in_and_out_as_they_are,
        a_terminal_is_one_of_the_container_and_has_the_size_that_is_set,
        what_a_container_has_put_in_the_place_of_terminals_is_not_taken_for_one,
        the_end_of_a_container_is_that_of_whoever_has_entered,
        a_container_that_has_ended_is_not_entered,
        a_group_below_that_of_a_container_is_found_by_its_member,
        only_pipes_and_a_socket_for_a_terminal_are_handed_on,
    }
    resources::{
        device_nodes_open_as_the_rules_say_and_no_further,
        a_node_is_made_only_where_making_is_allowed,
        a_group_below_cannot_loosen_what_is_left_of_devices,
        who_divides_its_group_does_not_see_the_one_with_its_limits,
        device_rules_go_with_their_group,
        limits_are_set_in_the_generation_that_this_machine_has,
        a_throughput_of_a_disk_is_limited_where_it_is_named,
        a_limit_that_no_tree_has_is_an_error_that_names_the_controller,
        what_a_container_uses_is_told_while_it_runs,
        a_container_dies_whole_for_lack_of_memory,
    }
    calls::{
        programs_work_under_the_default_filter_and_do_not_break_out,
        a_shell_lists_and_does_not_mount_under_the_default_filter,
        the_kernel_takes_what_is_checked_and_refuses_the_rest,
    }
    exports::{
        what_one_container_exports_another_sees_and_writes,
        a_file_is_exported_like_a_directory,
        what_an_exporter_mounts_later_is_seen_and_nothing_of_an_importer,
        an_import_follows_an_exporter_that_comes_anew,
        an_import_that_begins_while_its_exporter_changes_has_what_is_there_in_the_end,
        a_read_only_import_stays_so_whoever_comes_anew,
        a_link_in_what_is_exported_does_not_lead_out,
        a_place_in_what_is_exported_is_kept_as_it_was_at_the_start,
        what_nobody_exports_is_missed_unless_it_is_optional,
        a_slot_of_the_other_kind_is_made_anew,
    }
    hooks::{
        hooks_run_in_order_in_the_container_with_its_rights_and_then_its_program,
        a_hook_that_fails_is_named_with_its_code_and_the_program_does_not_run,
    }
    users::{
        root_inside_is_nobody_outside,
        files_have_the_ids_of_inside_on_their_disk_whatever_the_range,
        what_is_of_the_device_stays_the_device_s,
        its_mounts_cannot_be_taken_apart,
        its_namespaces_are_under_its_rule_and_those_of_the_device_are_not,
        dev_and_console_are_as_for_every_container,
        rights_limits_and_filters_are_in_force_there_too,
        it_divides_its_own_group_and_no_limit_of_it,
        a_step_that_fails_on_either_side_is_reported_with_its_place,
        what_is_exported_across_ranges_is_a_stranger_s,
        an_import_comes_and_goes_for_users_of_its_own,
        a_tmpfs_and_its_options_are_for_the_users_of_the_container,
        a_start_that_is_cut_short_leaves_neither_half,
        a_container_that_is_held_waits_in_the_namespaces_of_its_users,
        what_fails_before_there_are_users_is_told_and_nobody_is_held,
        what_is_forbidden_in_addition_is_so_for_its_users,
        settings_of_its_own_namespaces_are_made,
    }
    images::{
        a_container_runs_from_an_image_of_each_kind,
        a_loop_device_is_gone_after_the_unmount,
        a_busy_image_is_detached_and_gone_with_its_last_user,
        no_two_images_share_a_loop_device,
        a_loop_device_is_gone_with_the_process_that_mounted_it,
        an_image_is_read_past_the_page_cache_of_its_file_where_that_can_be,
        a_file_that_is_no_image_leaves_nothing_attached,
    }
};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(mounts::COVERED) => covered(),
        Some(calls::PROBE) => match calls::probe() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                println!("{error}");
                ExitCode::FAILURE
            }
        },
        Some(images::HOLDER) => {
            let done = images::hold(std::env::args().skip(2));
            println!("{done:?}");
            ExitCode::FAILURE
        }
        _ => harness::main("containers", TESTS),
    }
}

/// The test of a root that cannot be pivoted, from within.
fn covered() -> ExitCode {
    let made = match mounts::descend() {
        Ok(made) => made,
        Err(error) => {
            println!("cannot go down to the lowest root: {error}");
            return ExitCode::FAILURE;
        }
    };
    let passed = harness::passes("on the lowest root", mounts::covered);
    mounts::ascend(&made);
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
