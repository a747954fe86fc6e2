//! Containers of an assembled revision for real: on this kernel, as root, from a squashfs with BusyBox in it. This
//! program is also the stage that it starts, as PID 1 is on a device; therefore it has a main of its own, that of
//! [`harness`], which also looks after each test for what it has left behind.

mod exports;
mod hooks;
mod leaks;
mod life;
mod networks;
mod networks6;
mod nodes;
mod sys;
mod users;
mod volumes;
mod wires;
mod world;

use std::process::ExitCode;

use harness::{Test, tests};
use world::World;

const TESTS: &[Test<World>] = tests! {
    life::{
        an_assembled_container_runs_and_leaves_nothing,
        a_container_is_asked_to_end_by_the_signal_that_it_takes,
        a_container_that_names_a_signal_is_asked_by_that_one,
        what_lines_say_of_limits_and_the_kernel_holds_inside_and_nowhere_else,
        a_container_that_does_not_listen_is_killed,
        a_stage_that_fails_says_where,
        a_program_enters_as_the_configuration_says_and_with_variables_of_its_caller,
        what_asks_a_container_whether_it_is_ready_is_confined_as_its_own_program_and_ends_with_it,
        a_limit_that_this_device_lacks_starts_nothing,
        a_limit_that_it_can_do_without_is_left_out_where_this_device_lacks_it,
        device_nodes_are_those_that_the_rules_leave,
        a_confined_container_has_its_own_nodes_its_terminals_and_what_is_granted,
        a_program_that_cannot_run_here_says_why,
        what_an_earlier_life_has_left_is_swept,
    }
    exports::{
        a_container_has_what_another_exports_for_as_long_as_that_is_up,
        an_import_may_be_there_before_its_exporter,
        an_exporter_is_mounted_anew_while_its_importers_run,
        what_an_earlier_life_has_exported_is_swept,
    }
    hooks::{
        hooks_are_the_programs_of_their_directory_by_name_and_links_end_in_the_image,
        a_base_without_hooks_has_none_and_one_that_is_no_image_says_so,
        a_hook_has_the_device_and_not_what_is_pid_1_s_to_decide,
        a_hook_is_ended_with_all_that_it_has_started,
    }
    leaks::{
        a_container_leaves_as_much_the_last_time_as_the_first,
    }
    networks::{
        containers_of_a_pool_speak_by_name_and_those_of_another_do_not_hear_them,
        a_port_is_published_while_its_container_runs,
        nobody_is_refused_while_a_container_behind_a_port_is_replaced,
        a_port_that_the_next_revision_does_not_publish_is_not_held_for_it,
        who_goes_on_sending_is_led_to_the_next_container_and_not_to_where_the_last_one_was,
        a_list_of_addresses_that_is_damaged_is_put_aside_and_named,
        an_address_survives_restarts_and_updates_and_the_others_hear_of_new_ones,
        a_container_on_a_wire_of_the_device_speaks_to_who_is_there_and_not_to_the_device,
        a_container_that_cannot_be_connected_says_why_and_leaves_nothing,
        a_root_that_cannot_be_written_has_names_all_the_same,
        users_of_its_own_have_their_own_network_and_are_reached_in_it,
    }
    networks6::{
        by_ipv6_a_container_reaches_no_further_than_its_pool_and_leads_nobody,
        a_pool_with_ipv6_has_by_that_what_it_has_by_ipv4_and_no_more,
    }
    nodes::{
        rules_make_the_nodes_that_the_device_rules_leave_and_no_other,
        a_rule_says_whose_a_node_is_and_where_and_what_is_linked_to_it,
        users_of_its_own_have_nodes_that_are_theirs,
        a_device_that_comes_and_goes_does_so_in_a_container_that_runs,
        what_the_container_has_put_in_the_way_stays_and_is_told,
        what_the_container_has_put_in_place_of_a_node_stays_when_the_device_goes,
    }
    users::{
        what_users_of_its_own_write_is_root_s_on_the_storage_and_outlives_their_range,
        a_volume_that_cannot_be_mapped_is_named_and_not_opened_to_others,
    }
    volumes::{
        each_storage_lives_as_long_as_it_says,
        storage_on_a_disk_of_its_own_lives_as_long_as_it_says,
        a_changed_container_begins_with_empty_memory,
        an_image_that_stays_in_an_update_is_not_opened_again_and_another_is,
        a_mount_that_fails_leaves_nothing_of_the_others,
        objects_of_the_store_are_never_written,
        files_of_the_revision_lie_over_the_image,
        an_overlay_of_a_directory_keeps_what_is_written,
        on_a_storage_to_be_read_everything_is_there_and_changes_end_with_the_boot,
        mounting_and_unmounting_again_changes_nothing,
        a_link_in_storage_does_not_lead_out,
        an_image_without_a_writable_layer_is_a_root_as_it_is,
    }
    wires::{
        a_veth_is_on_its_bridge_with_all_that_its_lines_say,
        an_interface_on_the_wire_of_another_is_there_again_at_once,
        an_interface_that_a_container_takes_comes_back_however_that_ends,
        an_interface_that_is_not_there_is_named_and_nothing_starts,
        the_next_life_of_pid_1_gives_an_interface_its_name_back,
        users_of_its_own_have_their_interfaces_too,
    }
};

fn main() -> ExitCode {
    harness::main("engine", TESTS)
}
