//! Namespace `data`, and the methods of data sets and loaders.

use std::path::PathBuf;

use crate::data::cifar::{Cifar10Options, Cifar100Options};
use crate::data::divide::{RandomSplitOptions, Share};
use crate::data::fashion_mnist::FashionMnistOptions;
use crate::data::folder::ImageFolderOptions;
use crate::data::image::ImageOptions;
use crate::data::indices::Indices;
use crate::data::latents::LatentsOptions;
use crate::data::mnist::MnistOptions;
use crate::data::npz::NpzOptions;
use crate::data::open::OpenOptions;
use crate::data::{self, Batch, Dataset, FromTensorsOptions, Loader, LoaderOptions};
use crate::declare::{Function, IntoValue, Map, OneOrMany, Value};
use crate::functions;
use crate::torch::{Fields, Tensor};

crate::api! {
    types: [Dataset, Loader],
    functions: [space, properties, methods, loaders],
}

pub mod space {
    use super::*;
    functions! { in "data";
        /// Opens Fashion-MNIST, 28 x 28 gray images of clothing in ten classes.
        ///
        /// Without a path these are the 10,000 embedded images, the original test images: the first 8,000 as
        /// `train`, the last 2,000 as `test`. With `path`, a folder with the four original files, compressed or
        /// not, they are the original 60,000 and 10,000. Source: Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747,
        /// MIT license.
        ///
        /// ```rhai
        /// let images = data::fashion_mnist(#{ split: "test" });
        /// assert_eq(images.len, 2000);
        /// assert_eq(images.class_names[9], "Ankle boot");
        /// ```
        fn fashion_mnist(options: FashionMnistOptions) -> Dataset { data::fashion_mnist::fashion_mnist(&options) }

        /// Opens CIFAR-10, 32 x 32 color images in ten classes, from its binary version.
        ///
        /// `path` is the folder `cifar-10-batches-bin`, a folder that contains it, or `cifar-10-binary.tar.gz`. The
        /// Python version consists of pickles, which can run code, and is refused. Source: Krizhevsky 2009.
        ///
        /// ```rhai
        /// let told = "";
        /// try { data::cifar10(#{ path: "no/such/folder", split: "test" }); } catch (e) { told = `${e}`; }
        /// assert(told.contains("no such file or folder"), told);
        /// ```
        fn cifar10(options: Cifar10Options) -> Dataset { data::cifar::cifar10(&options) }

        /// Opens CIFAR-100, 32 x 32 color images in a hundred classes, from its binary version.
        ///
        /// `path` is the folder `cifar-100-binary`, a folder that contains it, or `cifar-100-binary.tar.gz`. With
        /// `labels: "coarse"` the classes are the twenty groups. Source: Krizhevsky 2009.
        ///
        /// ```rhai
        /// let told = "";
        /// try { data::cifar100(#{ path: "no/such/folder", labels: "coarse" }); } catch (e) { told = `${e}`; }
        /// assert(told.contains("no such file or folder"), told);
        /// ```
        fn cifar100(options: Cifar100Options) -> Dataset { data::cifar::cifar100(&options) }

        /// Opens MNIST, 28 x 28 gray images of digits, from a folder with its four original files.
        ///
        /// Source: LeCun, Bottou, Bengio and Haffner 1998.
        ///
        /// ```rhai
        /// let told = "";
        /// try { data::mnist(#{ path: "no/such/folder" }); } catch (e) { told = `${e}`; }
        /// assert(told.contains("no such folder"), told);
        /// ```
        fn mnist(options: MnistOptions) -> Dataset { data::mnist::mnist(&options) }

        /// Opens PNG, JPEG and WebP images with their classes: in a folder, archives or Parquet files.
        ///
        /// The central square of each image is resized to `size` with antialiasing (bicubic). Sets of up to 1 GiB
        /// of pixels are kept in memory; larger ones are read and decoded ahead of use on threads.
        ///
        /// Images of a class may lie in subfolders of its folder. They are loaded as a viewer shows them: rotated by
        /// their EXIF orientation, and composited over `background` where they are transparent. Folders without
        /// images, and those that other systems leave behind, are not classes. Classes are in alphabetical order, or
        /// in numerical order if they are numbered (`0`, `1`, .. or `class_1`, ..). Stray bytes and a truncated last
        /// block are tolerated. A file with more damage is an error that says at which byte reading stopped, or is
        /// skipped with `on_error: "skip"`. Notes say how many files were affected, if all files are read when the
        /// folder is opened: into memory, or because of "skip".
        ///
        /// ```rhai
        /// let black = tensor::full([1, 3, 8, 8], -1.0);
        /// eval::save_images("pictures/dark", black);
        /// let set = data::image_folder("pictures", #{ size: 4 });
        /// assert_eq([set.len, set.class_names, set.image_shape], [1, ["dark"], [3, 4, 4]]);
        /// files::write_text("pictures/dark/1.png", "this is no image");
        /// let set = data::image_folder("pictures", #{ size: 4, background: "black", on_error: "skip" });
        /// assert_eq(set.len, 1);
        /// ```
        ///
        /// `path` may also be a zip or tar file, an array of them, or a name with braces or `*` for several:
        /// `"train-{000..146}.tar"`, `"train-*.tar"`. They are read in place. Classes come from `dataset.json`
        /// (StyleGAN, EDM, EDM2), from a `.cls` file next to each image (WebDataset), from an entry of its `.json`
        /// file with `label_column`, or from folders. `"set.zip/train"` is a folder in an archive. Arrays
        /// `0001.text.npy` next to `0001.jpg` become the field `text` with `fields: ["text"]`.
        ///
        /// Parquet files of the Hugging Face hub are opened by name, `"data/train-*.parquet"`, or by their folder. A row has the
        /// bytes of an image in the column `image_column` and a class in the column `label_column`; usual names such as
        /// `image` and `label` are found without them. `fields` names columns of numbers or of lists of numbers.
        ///
        /// With `labels`, the classes come from a CSV file instead of folders: a row for every image, with its path
        /// in the folder and its class, a name or a number. The extension of the path may be omitted.
        ///
        /// ```rhai
        /// eval::save_images("all", tensor::zeros([3, 3, 8, 8]));        // 000000.png, 000001.png, 000002.png
        /// files::write_text("labels.csv", "image,breed\n000000,pug\n000001,beagle\n000002,pug\n");
        /// let set = data::image_folder("all", #{ size: 8, labels: "labels.csv" });
        /// assert_eq(set.class_names, ["beagle", "pug"]);
        /// assert_eq(set.labels, tensor([1, 0, 1]));
        /// ```
        fn image_folder<cx>(path: OneOrMany<PathBuf>, options: ImageFolderOptions) -> Dataset {
            data::folder::images_in(&path, &options, cx)
        }

        /// Reads one PNG, JPEG or WebP file as an image, float32 [C, H, W] in [-1, 1].
        ///
        /// It is turned upright by its EXIF orientation, and blended over `background` where it is transparent.
        /// `eval::save_images` writes such images.
        ///
        /// ```rhai
        /// eval::save_images("seen", tensor::full([1, 3, 4, 6], 1.0));
        /// let x = data::image("seen/000000.png");
        /// assert_eq(x, tensor::ones([3, 4, 6]));
        /// assert_eq(data::image("seen/000000.png", #{ size: 8, channels: 1 }).shape, [1, 8, 8]);
        /// ```
        fn image<cx>(path: PathBuf, options: ImageOptions) -> Tensor {
            data::image::image(&path, &options, |text| cx.note(text))
        }

        /// Opens latents [N, C, H, W] of an image autoencoder, from a safetensors file that also holds labels, or from a zip file
        /// with an array [C, H, W] of each image and `dataset.json`, as EDM2 stores means and standard deviations.
        ///
        /// The latents become `(x - shift) * scale`, or with `stats` `(x - mean) / std * scale` of each channel, and
        /// may have any range. A model trained on them samples latents, with `clamp: false`.
        ///
        /// ```rhai
        /// let file = #{ latents: tensor::full([3, 4, 8, 8], 5.0), labels: tensor([0, 1, 1]) };
        /// tensor::save_safetensors("latents.safetensors", file);
        /// let set = data::latents("latents.safetensors", #{ scale: 0.18215 });
        /// assert_close(set.images().mean().item(), 5.0 * 0.18215, 1e-6);
        /// assert_eq([set.classes, set.image_shape], [2, [4, 8, 8]]);
        /// // Other tensors of the file, such as embeddings of captions, become fields.
        /// tensor::save_safetensors("latents.safetensors", file + #{ text: tensor::randn([3, 768]) });
        /// let set = data::latents("latents.safetensors", #{ fields: ["text"] });
        /// assert_eq(set.fields.text.shape, [3, 768]);
        /// ```
        fn latents<cx>(path: PathBuf, options: LatentsOptions) -> Dataset {
            data::latents::latents(&path, &options, cx)
        }

        /// Opens a batch of images in an npz file, as ADM's evaluator and the sampling scripts of DiT exchange them.
        ///
        /// The images are `arr_0` [N, H, W, 3] uint8; labels are `arr_1` [N] if the file has them. Batches larger than
        /// 1 GiB are read on demand. `eval::save_samples` writes such files. Further arrays that `fields` names, such as
        /// embeddings of captions, become fields of the data set: see `set.with_fields`.
        ///
        /// ```rhai
        /// let images = data::fashion_mnist().take(10);
        /// eval::save_samples("samples.npz", images);
        /// let set = data::npz("samples.npz");
        /// assert_eq([set.len, set.image_shape], [10, [3, 28, 28]]);
        /// assert_close(set.images().mean().item(), images.images().mean().item(), 1e-6);
        /// ```
        fn npz(path: PathBuf, options: NpzOptions) -> Dataset { data::npz::npz(&path, &options) }

        /// Opens a data set by its short name, as used on a command line.
        ///
        /// Names are `"fashion_mnist"`, `"fashion_mnist:FOLDER"`, `"mnist:FOLDER"`, `"cifar10:PATH"` and
        /// `"cifar100:PATH"`.
        ///
        /// ```rhai
        /// assert_eq(data::open("fashion_mnist", #{ split: "train" }).len, 8000);
        /// ```
        fn open(name: String, options: OpenOptions) -> Dataset { data::open::open(&name, &options) }

        /// Joins data sets into one that has the images of all, in this order.
        ///
        /// The sets have images of one shape and the same fields. Classes are matched by name: if the sets have different
        /// ones, the result has all of them, in the order in which they occur, with labels numbered anew, and a note says so.
        /// Sets in memory are copied; image folders and files that are read on demand stay so.
        ///
        /// ```rhai
        /// let set = data::join([data::fashion_mnist(#{ split: "train" }), data::fashion_mnist(#{ split: "test" })]);
        /// assert_eq([set.len, set.classes, set.split], [10000, 10, "train + test"]);
        /// ```
        fn join<cx>(sets: Vec<Dataset>) -> Dataset { data::join::join(&sets, |text| cx.note(text)) }

        /// Creates a data set from images [N, C, H, W] and integer labels [N].
        ///
        /// Images are uint8 from 0 to 255, or floats in [-1, 1]; if all floats lie in [0, 1], a note says so. With
        /// `latents: true` floats may have any range, as latents do, or samples that are trained on as they are.
        /// Labels are from 0 to one less than the number of classes, and are copied. Images on the CPU, uint8 or
        /// float32, are not copied, which would take their memory twice: do not change them in place afterwards, or
        /// pass `images.clone()`.
        ///
        /// ```rhai
        /// let set = data::from_tensors(tensor::zeros([4, 1, 8, 8]), tensor::zeros([4], #{ dtype: "int64" }),
        ///     #{ name: "black", classes: 2 });
        /// assert_eq([set.name, set.len, set.classes], ["black", 4, 2]);
        /// let far = data::from_tensors(tensor::ones([4, 4, 8, 8]) * 3.0, set.labels, #{ latents: true });
        /// assert_eq(far.images().max().item(), 3.0);
        /// ```
        fn from_tensors<cx>(images: Tensor, labels: Tensor, options: FromTensorsOptions) -> Dataset {
            let set = data::dataset::from_tensors(&images, &labels, &options)?;
            let note = if options.latents { None } else { data::pixels::range_note(&images)? };
            if let Some(note) = note {
                cx.note(&format!("data::from_tensors: {note}"));
            }
            Ok(set)
        }
    }
}

pub mod properties {
    use super::*;
    functions! { properties;
        /// Labels [N], int64. They are those of the set, so change a copy: `set.labels.clone()`.
        ///
        /// ```rhai
        /// assert_eq(data::fashion_mnist().labels.shape, [8000]);
        /// ```
        fn labels(set: Dataset) -> Tensor { Ok(set.labels().clone()) }

        /// Fields of the images by name, [N, ..]: see `set.with_fields`. Fields in files are read anew.
        ///
        /// ```rhai
        /// let set = data::fashion_mnist().with_fields(#{ text: tensor::zeros([8000, 16]) });
        /// assert_eq(set.subset([5, 7]).fields.text.shape, [2, 16]);
        /// ```
        fn fields(set: Dataset) -> Fields { set.fields() }

        /// Number of images.
        ///
        /// ```rhai
        /// assert_eq(data::fashion_mnist().len, 8000);
        /// ```
        fn len(set: Dataset) -> usize { Ok(set.len()) }

        /// Channels, height and width of each image.
        ///
        /// ```rhai
        /// assert_eq(data::fashion_mnist().image_shape, [1, 28, 28]);
        /// ```
        fn image_shape(set: Dataset) -> Vec<i64> { Ok(set.image_shape().to_vec()) }

        /// Number of classes.
        ///
        /// ```rhai
        /// assert_eq(data::fashion_mnist().classes, 10);
        /// ```
        fn classes(set: Dataset) -> usize { Ok(set.classes()) }

        /// Names of the classes, in the order of their labels.
        ///
        /// ```rhai
        /// assert_eq(data::fashion_mnist().class_names[1], "Trouser");
        /// ```
        fn class_names(set: Dataset) -> Vec<String> { Ok(set.class_names().to_vec()) }

        /// Name of the data set, recorded with every result.
        ///
        /// ```rhai
        /// assert_eq(data::fashion_mnist().name, "fashion_mnist");
        /// ```
        fn name(set: Dataset) -> String { Ok(set.name().to_string()) }

        /// Split of the source, such as `train`, `test` or `all`.
        ///
        /// ```rhai
        /// assert_eq(data::fashion_mnist().split, "train");
        /// ```
        fn split(set: Dataset) -> String { Ok(set.split().to_string()) }
    }
}

pub mod methods {
    use super::*;
    functions! { methods;
        /// Returns all images, [N, C, H, W] float32 in [-1, 1]; latents have any range.
        ///
        /// Each call makes a new tensor: keep the result if it is used often. Changing it does not change the set.
        ///
        /// ```rhai
        /// let set = data::fashion_mnist().take(5);
        /// assert_eq(set.images().shape, [5, 1, 28, 28]);
        /// let floats = data::from_tensors(set.images(), set.labels);
        /// floats.images().fill_(0.5);
        /// assert_eq(floats.images().min().item(), -1.0);
        /// ```
        fn images(set: Dataset) -> Tensor {
            // Floats in memory are those of the set itself.
            if set.stored().dtype().is_float() { set.images()?.copy() } else { set.images() }
        }

        /// Returns the set with fields: tensors that belong to its images, such as embeddings of captions, masks or depth maps.
        ///
        /// `fields` maps names to tensors [N, ..] or arrays of any dtype, whose rows are in the order of the images. They stay
        /// with their images in `take`, `subset`, `only` and loaders. `train::fit` gives those of a batch to parts
        /// of the model as `c.fields.NAME` and to losses as `s.fields.NAME`. With `flip: true` fields that look like images are
        /// mirrored with them: [N, .., C, h, w] with sides in the ratio of the images', and [N, H, W] of the size of the images.
        ///
        /// ```rhai
        /// let set = data::fashion_mnist().take(3).with_fields(#{ text: tensor::randn([3, 16]), weight: [1.0, 2.0, 0.5] });
        /// assert_eq(set.subset([2, 0]).fields.weight, tensor([0.5, 1.0]));
        /// let batch = set.loader(#{ batch: 2 }).next();
        /// assert_eq(batch.fields.text.shape, [2, 16]);
        /// ```
        fn with_fields(set: Dataset, fields: Fields) -> Dataset { set.with_fields(fields) }

        /// Returns the first `count` images as a data set.
        ///
        /// ```rhai
        /// assert_eq(data::fashion_mnist().take(100).len, 100);
        /// ```
        fn take(set: Dataset, count: usize) -> Dataset { set.take(count) }

        /// Returns the images at the given indices, in this order, as a data set.
        ///
        /// Indices are an array, a range or a tensor [N] of integers from 0; an index may occur more than once.
        ///
        /// ```rhai
        /// assert_eq(data::fashion_mnist().subset([7, 7, 0]).len, 3);
        /// assert_eq(data::fashion_mnist().subset(100..200).len, 100);
        /// assert_eq(data::fashion_mnist().subset(tensor([7, 0])).len, 2);
        /// ```
        fn subset(set: Dataset, indices: Indices) -> Dataset { set.subset(&indices.0) }

        /// Returns the images of some classes as a data set, with labels renumbered from 0 in the given order.
        ///
        /// Classes are given by name or by number.
        ///
        /// ```rhai
        /// let shoes = data::fashion_mnist().only(["Sneaker", "Ankle boot"]);
        /// assert_eq(shoes.class_names, ["Sneaker", "Ankle boot"]);
        /// assert_eq(data::fashion_mnist(#{ split: "test" }).only(7).classes, 1);
        /// ```
        fn only(set: Dataset, classes: OneOrMany<Value>) -> Dataset { set.only(&classes.0) }

        /// Divides the set at random into disjoint parts and returns them as an array of data sets.
        ///
        /// `parts` are fractions (floats) or numbers of images (integers) that give all images together; a part `()` takes the
        /// rest. The parts depend only on the seed and the images' number, and with `stratify` on the labels. Their images are in random
        /// order, so that `take` of a part is a random sample. `split` of a part names the division.
        ///
        /// ```rhai
        /// let parts = data::fashion_mnist().random_split([0.9, 0.1], #{ seed: 1, stratify: true });
        /// let train = parts[0];
        /// let validation = parts[1];
        /// assert_eq([train.len, validation.len], [7200, 800]);
        /// assert_eq(validation.split, "train, part 2 of [0.9, 0.1] by class with seed 1");
        /// assert_eq(data::fashion_mnist().random_split([(), 500])[0].len, 7500);
        /// ```
        fn random_split(set: Dataset, parts: Vec<Share>, options: RandomSplitOptions) -> Vec<Dataset> {
            set.random_split(&parts, &options)
        }

        /// Returns the number of images of each class, in the order of the classes.
        ///
        /// ```rhai
        /// let counts = data::fashion_mnist().counts();
        /// assert_eq(counts.len(), 10);
        /// ```
        fn counts(set: Dataset) -> Vec<i64> { set.counts() }

        /// Creates an endless loader of batches.
        ///
        /// Every pass over the data visits each image once, in a new order that the seed determines; with `image_weights` as
        /// often as its weight says.
        ///
        /// ```rhai
        /// let loader = data::fashion_mnist().loader(#{ batch: 32, seed: 1 });
        /// assert_eq(loader.next().images.shape, [32, 1, 28, 28]);
        /// ```
        fn loader(set: Dataset, options: LoaderOptions) -> Loader { set.loader(&options) }
    }
}

pub mod loaders {
    use super::*;
    functions! { methods;
        /// Returns the next batch: a map of `images` [B, C, H, W] float32, `labels` [B] int64 and `len`.
        ///
        /// A batch always has the full size: if a pass ends within it, the next pass fills it up. `indices` [B]
        /// int64 gives the positions of the images in the data set, and `fields` is a map of their fields.
        ///
        /// ```rhai
        /// let batch = data::fashion_mnist().loader(#{ batch: 8 }).next();
        /// assert_eq([batch.len, batch.labels.shape], [8, [8]]);
        /// ```
        fn next(loader: Loader) -> Batch { loader.next() }

        /// Calls a function with every batch of one pass and returns the number of batches.
        ///
        /// Each image comes exactly once, if there are no `image_weights`; the last batch may be smaller. A pass already begun
        /// is abandoned.
        ///
        /// ```rhai
        /// let seen = 0;
        /// let batches = data::fashion_mnist().take(20).loader(#{ batch: 8 }).epoch(|batch| seen += batch.len);
        /// assert_eq([batches, seen], [3, 20]);
        /// ```
        fn epoch<cx>(loader: Loader, each: Function) -> u64 {
            loader.epoch(|batch| {
                cx.check()?;
                each.call(&[batch.into_value()]).map(drop)
            })
        }

        /// Returns the number of batches in one pass, counting a smaller last one.
        ///
        /// ```rhai
        /// assert_eq(data::fashion_mnist().loader(#{ batch: 64 }).batches(), 125);
        /// ```
        fn batches(loader: Loader) -> i64 { Ok(loader.batches()) }

        /// Returns the position and the settings that determine the order, as plain data, to resume from.
        ///
        /// ```rhai
        /// let loader = data::fashion_mnist().loader(#{ batch: 16 });
        /// loader.next();
        /// assert_eq(loader.state().position, 16);
        /// ```
        fn state(loader: Loader) -> Map { loader.state() }

        /// Resumes from the state of a loader over the same images with the same seed and order.
        ///
        /// ```rhai
        /// let loader = data::fashion_mnist().loader(#{ batch: 16 });
        /// let state = loader.state();
        /// let first = loader.next().labels;
        /// loader.restore(state);
        /// assert_eq(`${loader.next().labels}`, `${first}`);
        /// ```
        fn restore(loader: Loader, state: Map) -> () { loader.restore(&state) }
    }
}
