//! Public names of the parameters of an AutoencoderKL, converted to the current ones of diffusers.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Old and current names of the attention in diffusers.
const ATTENTION: [(&str, &str); 4] =
    [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")];

/// Names of CompVis and of diffusers within the attention of the middle.
const MIDDLE: [(&str, &str); 5] =
    [("norm", "group_norm"), ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")];

/// Returns the number of stages of a decoder with the names of CompVis, which count in the other direction.
pub fn stages(weights: &BTreeMap<String, Tensor>) -> usize {
    let stage = |name: &str| name.strip_prefix("decoder.up.")?.split('.').next()?.parse::<usize>().ok();
    weights.keys().filter_map(|name| stage(name)).max().map_or(0, |last| last + 1)
}

/// Returns a tensor with its current name. Attention maps that are stored as 1 x 1 convolutions become matrices.
pub fn renamed(name: &str, tensor: Tensor, stages: usize) -> Result<(String, Tensor)> {
    let parts: Vec<&str> = name.split('.').collect();
    let new = match parts.as_slice() {
        [side, "mid_block", "attentions", i, old, rest @ ..] => {
            let part = current(&ATTENTION, old);
            [&[*side, "mid_block", "attentions", *i, part], rest].concat().join(".")
        }
        [side, "mid", "attn_1", part, rest @ ..] => {
            let part = current(&MIDDLE, part);
            [&[*side, "mid_block", "attentions", "0", part], rest].concat().join(".")
        }
        [side, "mid", "block_1", rest @ ..] => format!("{side}.mid_block.resnets.0.{}", block(rest)),
        [side, "mid", "block_2", rest @ ..] => format!("{side}.mid_block.resnets.1.{}", block(rest)),
        [side, "norm_out", rest @ ..] => format!("{side}.conv_norm_out.{}", rest.join(".")),
        ["encoder", "down", i, "block", j, rest @ ..] => {
            format!("encoder.down_blocks.{i}.resnets.{j}.{}", block(rest))
        }
        ["encoder", "down", i, "downsample", rest @ ..] => {
            format!("encoder.down_blocks.{i}.downsamplers.0.{}", rest.join("."))
        }
        ["decoder", "up", i, "block", j, rest @ ..] => {
            format!("decoder.up_blocks.{}.resnets.{j}.{}", turned(i, stages), block(rest))
        }
        ["decoder", "up", i, "upsample", rest @ ..] => {
            format!("decoder.up_blocks.{}.upsamplers.0.{}", turned(i, stages), rest.join("."))
        }
        [side @ ("encoder" | "decoder"), "down" | "up", _, "attn", ..] => {
            return Err(Error::argument(format!(
                "expected attention in the middle of the {side} alone, found `{name}` in a stage"
            ))
            .hint("autoencoders of Stable Diffusion 1 to 3 and FLUX are supported"));
        }
        _ => name.to_string(),
    };
    let tensor = match tensor.shape().as_slice() {
        [outputs, inputs, 1, 1] if new.contains(".attentions.") => tensor.reshape(&[*outputs, *inputs])?,
        _ => tensor,
    };
    Ok((new, tensor))
}

fn current<'a>(names: &[(&'a str, &'a str)], name: &'a str) -> &'a str {
    names.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new)
}

/// Returns the name within a residual block.
fn block(parts: &[&str]) -> String {
    parts.join(".").replace("nin_shortcut", "conv_shortcut")
}

/// Returns the index of a stage counted from the other end.
fn turned(index: &str, stages: usize) -> String {
    match index.parse::<usize>() {
        Ok(index) if index < stages => (stages - 1 - index).to_string(),
        _ => index.to_string(),
    }
}
