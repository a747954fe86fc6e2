//! What a process gives back, as the kernel counts it. Each test is about memory of its own.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests; they never run on a device")]

use std::fs;
use std::hint::black_box;
use std::thread;

use rest::{Stack, give_back, give_back_program};

/// What a thread of a device has.
const STACK: usize = 512 * 1024;

/// What lies in memory of the mapping with this address, in kilobytes.
fn resident(address: usize) -> u64 {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = maps.lines().skip_while(|line| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let bound = |text: &str| usize::from_str_radix(text, 16).ok();
        !range.is_some_and(|(from, to)| {
            bound(from).is_some_and(|from| from <= address) && bound(to).is_some_and(|to| address < to)
        })
    });
    let line = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Uses about this many kilobytes of stack, and says what was kept there meanwhile.
fn deep(kilobytes: usize) -> usize {
    let mut piece = [0_u8; 1024];
    piece[kilobytes % 1024] = 1;
    black_box(&mut piece);
    if kilobytes == 0 { 0 } else { deep(kilobytes - 1) + usize::from(piece[kilobytes % 1024]) }
}

#[test]
fn a_stack_that_was_deep_is_given_back_and_can_be_deep_again() {
    let work = || {
        let here = 0_u8;
        let address = (&raw const here).addr();
        let stack = Stack::of_this_thread();
        assert!(stack.is_some());
        for _ in 0..3 {
            assert_eq!(deep(300), 300);
            let before = resident(address);
            give_back(stack);
            let after = resident(address);
            assert!(before >= 300 && after <= 64, "{before} kB before, {after} kB after");
        }
        assert_eq!(here, 0);
    };
    thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
}

#[test]
fn a_program_that_is_given_back_is_mapped_as_it_is_needed() {
    // Far from anything that is executed meanwhile, and all of it.
    let address = a_program_that_is_given_back_is_mapped_as_it_is_needed as fn() as usize;
    assert_eq!(deep(10), 10);
    let before = resident(address);
    give_back_program();
    assert_eq!(deep(10), 10);
    let after = resident(address);
    assert!(after < before, "{before} kB before, {after} kB after");
}

#[test]
fn threads_side_by_side_give_back_nothing_of_each_other() {
    let threads: Vec<_> = (0..8)
        .map(|_| {
            thread::Builder::new()
                .stack_size(64 * 1024)
                .spawn(|| {
                    let stack = Stack::of_this_thread();
                    let kept: Vec<usize> = (0..1000).collect();
                    for _ in 0..1000 {
                        assert_eq!(deep(12), 12);
                        give_back(stack);
                    }
                    assert!(kept.iter().enumerate().all(|(at, kept)| at == *kept));
                })
                .unwrap()
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
#[cfg(target_env = "gnu")]
fn what_is_free_in_the_middle_of_a_heap_is_given_back() {
    // Too small to be mapped each by itself, and the last one keeps the heap from just becoming shorter.
    let mut all: Vec<Vec<u8>> = (0..4096).map(|_| vec![1_u8; 16 * 1024]).collect();
    let last = all.pop();
    let private = || {
        let all = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = all.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let full = private();
    drop(all);
    give_back(None);
    let rest = private();
    assert!(full.saturating_sub(rest) > 60 * 1024, "{full} kB before, {rest} kB after");
    assert_eq!(last.map(|last| last.len()), Some(16 * 1024));
}
