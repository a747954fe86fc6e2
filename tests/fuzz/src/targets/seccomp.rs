//! Filters of system calls.

use formats::seccomp::{Arch, Call, Filter};

/// The input is a program. What it is asked about comes from its own bytes: there stand the numbers that it looks for.
pub(crate) fn filter(bytes: &[u8]) {
    let Ok(filter) = Filter::parse(bytes) else { return };
    assert_eq!(filter.to_bytes(), bytes);
    let mut call = Call::default();
    for step in filter.steps().iter().take(16) {
        for arch in Arch::ALL {
            // It ends, whatever it is asked; and says the same again.
            call = Call { arch: arch.audit(), number: step.k, pointer: call.args[0], ..call };
            call.args.rotate_left(1);
            call.args[5] = u64::from(step.k) << (step.jt & 31);
            assert_eq!(filter.decide(&call), filter.decide(&call));
        }
        call.arch = step.k;
    }
    for arch in Arch::ALL {
        let _ = filter.serves(arch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_has_filters_that_are_read() {
        let golden: [&[u8]; 2] = [
            include_bytes!("../../../formats/golden/seccomp-x86_64.bpf"),
            include_bytes!("../../corpus/seccomp/memory.bpf"),
        ];
        assert!(golden.iter().all(|bytes| Filter::parse(bytes).is_ok()));
    }
}
