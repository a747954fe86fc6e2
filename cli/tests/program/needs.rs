//! What a container needs of others before it starts.

use crate::bench::Bench;
use crate::images::{Image, Layer, Packed};

#[test]
fn whoever_comes_first_is_a_condition_of_the_manifest_and_has_to_be_there() {
    let bench = Bench::new();
    bench.layout("image", &[Image::new(r#"{"Cmd":["/bin/x"]}"#).layer(Layer::new().file("bin/x", ""), Packed::Plain)]);
    bench.app(&["add", "db", "--from", "oci:../image"]);
    bench.app(&["add", "web", "--from", "oci:../image", "--after", "db"]);
    let run = bench.read("web/run.json");
    assert!(run.contains("\"config\": \"lxc.container.conf\",\n\t\"conditions\": [\n\t\t\"db\"\n\t],\n"), "{run}");
    assert!(bench.read("web/src.json").contains("PV_CONDITIONS") && !bench.read("db/run.json").contains("conditions"));
    bench.ok(&["add", "."]);
    bench.ok(&["commit"]);
    bench.app(&["add", "web", "--from", "oci:../image", "--after", "data", "--force"]);
    bench.ok(&["add", "."]);
    bench.refused(&["commit"], &["web/run.json: conditions: this revision has no container \"data\""]);
}
