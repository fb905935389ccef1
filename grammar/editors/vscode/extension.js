// Starts `raftoral lsp` and leaves everything else to it.
const { workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

function activate() {
  const [command, ...args] = workspace.getConfiguration("raftoral").get("command");
  client = new LanguageClient(
    "raftoral",
    "Raftoral",
    { command, args },
    { documentSelector: [{ language: "rwf" }] },
  );
  return client.start();
}

function deactivate() {
  return client?.stop();
}

module.exports = { activate, deactivate };
