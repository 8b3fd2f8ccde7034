//! Every idea of std-lib trains, resumes and samples on a device other than the CPU.

use crate::run_text;

#[test]
fn every_idea_trains_resumes_and_samples() {
    let ideas = include_str!("../shared/ideas.rhai");
    let printed = run_text(&format!(
        r#"{ideas}
for name in ideas_of.keys() {{
    let idea = ideas_of[name];
    let net = made(idea);
    assert_eq(net.device, "cuda:0");
    train::fit(net, images, settings(idea, #{{ steps: 1, out: `runs/${{name}}`, checkpoint_every: 1 }}));
    let again = made(idea);
    let run = train::fit(again, images, settings(idea, #{{ steps: 2, out: `runs/${{name}}` }}));
    let straight = made(idea);
    train::fit(straight, images, settings(idea, #{{ steps: 2 }}));
    assert(same(straight.parameters(), again.parameters()), name);
    let more = #{{ labels: [3, 4], steps: 2, seed: 1 }};
    if "sample" in idea {{ more.mixin(idea.sample); }}
    let opened = model::open(`runs/${{name}}/ema.safetensors`);
    assert(flow::sample(opened, more).equal(flow::sample(run.ema, more)), name);
    train::fit(net, images, settings(idea, #{{ steps: 1, precision: "bfloat16", accumulate: 2 }}));
}}
print("all");"#
    ));
    assert_eq!(printed.trim(), "all");
}
