//! Users of a container's own: from lines to ranges, or refused.

use container::launch::Range;

use super::*;

#[test]
fn users_of_its_own_are_those_that_the_lines_map() {
    let own = "lxc.namespace.keep = net\n";
    let users = |lines: &str| program("", &format!("{own}{lines}")).unwrap().launch.users;
    assert_eq!(users(""), None);
    let range = |inside, outside, count| Range { inside, outside, count };
    let found = users("lxc.idmap = u 0 1000000 65536\nlxc.idmap = g 0 2000000 10\nlxc.idmap = b 100000 5 1\n").unwrap();
    assert_eq!(found.uids, [range(0, 1_000_000, 65536), range(100_000, 5, 1)]);
    assert_eq!(found.gids, [range(0, 2_000_000, 10), range(100_000, 5, 1)]);
    assert_eq!(users("lxc.idmap = b 0 9 9\nlxc.idmap =\n"), None, "taken back");
    for (lines, why) in [
        ("lxc.idmap = u 0 1000000 65536\n", "must have user 0 and group 0"),
        ("lxc.idmap = b 1 1000000 65536\n", "must have user 0 and group 0"),
        ("lxc.idmap = b 0 1000000 65536\nlxc.idmap = u 9 5 1\n", "two things of one id"),
        ("lxc.idmap = b 0 1000000 65536\nlxc.idmap = g 70000 1000005 1\n", "two things of one id"),
        ("lxc.idmap = b 0 1000000 10\nlxc.init.uid = 10\n", "those that the first process runs as"),
        ("lxc.idmap = b 0 1000000 10\nlxc.namespace.keep = user net\n", "exclude each other"),
    ] {
        let error = refused("", &format!("{own}{lines}"));
        assert!(error.contains(why), "{lines}: {error}");
    }
    let overlay = "lxc.mount.entry = overlay srv overlay lowerdir=/volumes/web/root.squashfs,create=dir 0 0\n";
    let error = refused("", &format!("{own}lxc.idmap = b 0 1000000 10\n{overlay}"));
    assert!(error.contains("put the layers into lxc.rootfs.path"), "{error}");
}
