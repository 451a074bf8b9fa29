//! How the demo's volunteers train.

/// Settings of one LoRA run of the demo.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoSettings {
    pub r: u32,
    pub lora_alpha: f32,
    /// Empty for all linear layers.
    pub target_modules: &'static [&'static str],
    pub learning_rate: f64,
    pub max_steps: u64,
    pub batch_size: usize,
    pub warmup_steps: u64,
    pub weight_decay: f64,
    /// Rows of the skill.
    pub train_rows: usize,
}

impl DemoSettings {
    pub fn tiny() -> Self {
        Self { r: 8, lora_alpha: 16.0, target_modules: &[], learning_rate: 2e-3, max_steps: 200, batch_size: 32, warmup_steps: 10, weight_decay: 0.0, train_rows: 4000 }
    }

    pub fn small_model() -> Self {
        Self { r: 16, lora_alpha: 32.0, target_modules: &[], learning_rate: 5e-4, max_steps: 100, batch_size: 16, warmup_steps: 10, weight_decay: 0.0, train_rows: 2000 }
    }
}
