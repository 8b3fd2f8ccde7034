//! Small sets of images in files, and the weights of a small autoencoder.

use std::path::Path;

use spectral::vae::{Vae, VaeOptions};

/// Writes an image of 16 x 16 pixels whose colors depend on its number.
pub fn write_image(path: &Path, number: u32) {
    let pixels: Vec<u8> = (0..16 * 16 * 3u32).map(|i| (i * (number + 1) * 37 % 251) as u8).collect();
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = png::Encoder::new(file, 16, 16);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

/// Writes three classes of eight images to `folder/images`, and the weights of a small autoencoder.
pub fn prepare(folder: &Path) {
    for (class, name) in ["bee", "fox", "owl"].into_iter().enumerate() {
        let class_folder = folder.join("images").join(name);
        std::fs::create_dir_all(&class_folder).unwrap();
        for i in 0..8 {
            write_image(&class_folder.join(format!("{i}.png")), 8 * class as u32 + i);
        }
    }
    let options = VaeOptions {
        block_out_channels: vec![8, 16],
        norm_num_groups: 4,
        layers_per_block: 1,
        ..VaeOptions::default()
    };
    Vae::random(&options).unwrap().save(folder.join("vae.safetensors")).unwrap();
}
