//! Names of options that users bring from PyTorch, diffusers and the public code of DiT and SiT.

/// Names of theirs, those of ours in order of preference, and what differs beyond the name.
type Brought = (&'static str, &'static str, &'static str);

/// Options under other names. A name of theirs stands for the first of ours that the function has.
const BROUGHT: &[Brought] = &[
    // Training.
    ("learning_rate base_lr init_lr max_lr", "lr", ""),
    ("wd decay_rate l2", "weight_decay", ""),
    ("optim optimizer_type optimizer_name opt", "optimizer", ""),
    (
        "epochs num_epochs n_epochs max_epochs num_train_epochs",
        "steps",
        "`steps` counts updates; one epoch has `dataset.len / batch` of them",
    ),
    (
        "num_steps n_steps max_steps total_steps train_steps training_steps max_train_steps num_train_steps \
         iters iterations max_iters num_iterations n_iter num_train_timesteps num_timesteps diffusion_steps",
        "steps",
        "",
    ),
    ("batch_size bs train_batch_size global_batch_size per_device_train_batch_size microbatch", "batch", ""),
    ("warmup_steps num_warmup_steps lr_warmup_steps warmup_iters", "warmup", ""),
    ("lr_schedule lr_scheduler lr_scheduler_type scheduler", "schedule sampler", ""),
    ("min_lr eta_min final_lr", "min_lr_ratio min_ratio", "it is a fraction of the full rate"),
    (
        "grad_clip clip_grad clip_norm max_norm max_grad_norm grad_norm gradient_clip gradient_clip_val",
        "clip",
        "",
    ),
    ("ema_decay ema_rate ema_beta", "ema", ""),
    (
        "grad_accum accum_steps accumulation_steps gradient_accumulation gradient_accumulation_steps \
         accumulate_grad_batches",
        "accumulate",
        "",
    ),
    (
        "grad_checkpoint grad_checkpointing gradient_checkpointing use_checkpoint activation_checkpointing",
        "checkpoint_activations",
        "",
    ),
    ("mixed_precision amp autocast", "precision", "it is a text: `\"float32\"` or `\"bfloat16\"`"),
    ("out_dir output output_dir save_dir results_dir log_dir logdir run_dir folder", "out", ""),
    ("log_steps log_interval logging_steps print_every print_freq", "log_every", ""),
    (
        "ckpt_every save_every save_freq save_steps save_interval checkpointing_steps checkpoint_steps",
        "checkpoint_every",
        "",
    ),
    ("save_total_limit checkpoints_total_limit keep_last", "keep", ""),
    ("resume_from resume_from_checkpoint ckpt checkpoint init_from", "from weights", ""),
    ("random_seed manual_seed global_seed rng_seed", "seed", ""),
    ("hflip horizontal_flip random_flip", "flip", ""),
    ("loss_type loss_fn criterion objective", "loss", ""),
    ("time_sampling timestep_sampling weighting_scheme t_distribution", "timesteps", ""),
    ("callback on_step_end callbacks", "on_step", ""),
    // Models.
    ("n_layer n_layers num_layers layers n_blocks num_blocks num_hidden_layers", "depth", ""),
    ("dim d_model model_dim embed_dim hidden hidden_dim n_embd inner_dim width", "hidden_size", ""),
    ("heads n_head n_heads nheads num_attention_heads", "num_heads", ""),
    ("in_chans in_ch channels num_channels n_channels input_channels", "in_channels channels", ""),
    ("in_channels", "channels", ""),
    ("img_size im_size input_size resolution sample_size size", "image_size size", ""),
    ("image_size", "size", ""),
    ("patch", "patch_size", ""),
    ("n_classes nb_classes num_labels n_labels classes", "num_classes classes", ""),
    ("num_classes", "classes", ""),
    (
        "class_dropout label_dropout cfg_dropout drop_prob label_drop_prob cond_drop_prob uncond_prob dropout_prob",
        "class_dropout_prob",
        "",
    ),
    ("use_qk_norm qk_layernorm qk_normalization", "qk_norm", ""),
    ("use_bias", "bias", ""),
    ("torch_dtype", "dtype", ""),
    ("map_location device_map", "device", ""),
    ("strict", "partial", "`partial: true` is `strict=False` of PyTorch"),
    // Sampling.
    ("cfg w cfg_scale cfg_strength cfg_weight guidance_scale guidance_strength", "guidance", ""),
    ("cfg_interval cfg_range guidance_range", "guidance_interval", ""),
    ("sampling_steps num_sampling_steps num_inference_steps inference_steps nfe", "steps", ""),
    ("method solver ode_solver sde_solver sampling_method sampler_type integrator", "sampler", ""),
    ("y class_labels classes label class_ids", "labels", ""),
    ("z x0 x_t latents init_noise initial_noise", "noise", ""),
    ("timestep_shift time_shift flow_shift", "shift", ""),
    ("timesteps sigmas t_steps time_steps", "times", ""),
    ("diffusion_form", "diffusion", ""),
    ("path_type", "interpolant", ""),
    ("prediction prediction_type model_output", "predict", ""),
    ("tol tolerance", "rtol", "`atol` is the absolute tolerance"),
    // Data.
    ("root data_dir data_path dataset_path dir", "path", ""),
    ("train", "split", "it is a text: `\"train\"` or `\"test\"`"),
    ("transform transforms augmentation", "augment", ""),
    ("sample_weights weights sampler", "image_weights", ""),
    // Evaluation and figures.
    ("nearest_k nhood_size num_neighbors", "k", ""),
    ("subset_size", "size kid_size", ""),
    ("subsets num_subsets", "blocks kid_blocks", ""),
    ("n_bootstrap num_bootstrap n_resamples bootstrap", "resamples", ""),
    ("nrow ncol ncols n_cols", "columns", ""),
    ("cmap colormap", "map", ""),
    ("vmin vmax clim", "limits", "it is an array: `[low, high]`"),
    ("xlim", "x_limits", ""),
    ("ylim", "y_limits", ""),
    ("xlabel", "x_label", ""),
    ("ylabel", "y_label", ""),
    ("xscale", "x_scale", ""),
    ("yscale", "y_scale", ""),
    ("xticks", "x_ticks", ""),
    ("yticks", "y_ticks", ""),
    ("figsize", "width height", "it is a number of layout pixels"),
];

/// Returns the option that a name from elsewhere stands for among those of a function, and what differs beyond the
/// name, which is empty if nothing does.
pub fn brought(name: &str, known: &[&str]) -> Option<(&'static str, &'static str)> {
    let theirs = BROUGHT.iter().filter(|(theirs, ..)| theirs.split_whitespace().any(|word| word == name));
    theirs
        .flat_map(|(_, ours, note)| ours.split_whitespace().map(move |word| (word, *note)))
        .find(|(word, _)| known.contains(word))
}

/// Returns every option that a name from elsewhere may stand for.
pub fn brought_names() -> impl Iterator<Item = &'static str> {
    BROUGHT.iter().flat_map(|(_, ours, _)| ours.split_whitespace())
}

#[cfg(test)]
mod tests {
    use super::super::Error;
    use super::*;

    #[test]
    fn a_name_from_elsewhere_stands_for_an_option_that_the_function_has() {
        assert_eq!(brought("learning_rate", &["steps", "lr"]), Some(("lr", "")));
        assert_eq!(brought("scheduler", &["schedule"]).map(|(name, _)| name), Some("schedule"));
        assert_eq!(brought("scheduler", &["sampler"]).map(|(name, _)| name), Some("sampler"));
        assert_eq!(brought("learning_rate", &["steps"]), None);
    }

    #[test]
    fn the_hint_of_an_unknown_option_prefers_what_its_name_means_to_what_it_resembles() {
        let error = Error::unknown_option("cfg", ["guidance", "cuda_graph"]);
        assert_eq!(error.hint_text(), Some("did you mean `guidance`?"));
        assert_eq!(error.correction().map(|meant| meant.right.as_str()), Some("guidance"));
        // Another unit is no correction.
        let error = Error::unknown_option("epochs", ["steps", "lr"]);
        let hint = error.hint_text().unwrap();
        assert!(hint.starts_with("did you mean `steps`? `steps` counts updates"), "{hint}");
        assert!(error.correction().is_none());
    }
}
