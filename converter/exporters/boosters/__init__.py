"""XGBoost, LightGBM and CatBoost to ONNX."""
