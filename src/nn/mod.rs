//! Layers of networks: linear, normalisation, attention, MLP, embeddings, initialisation; named parameters.
