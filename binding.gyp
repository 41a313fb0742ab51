{
  # node-gyp and prebuildify come in here; CMakeLists.txt is the one build definition.
  "targets": [
    {
      "target_name": "spa",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(PRODUCT_DIR)/spa.node"],
          "action": ["node", "setup/gyp.mjs", "<(PRODUCT_DIR)"]
        }
      ]
    }
  ]
}
