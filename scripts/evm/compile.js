// Compiles the anchoring contract and prints its artifact: node compile.js SOURCE.sol
// Run in a folder where `solc` is installed (scripts/servers/evm.sh).
// The settings make the code a function of the source alone: no metadata hash, no
// instruction newer than Paris (FISCO BCOS 3 and older Besu networks know them all).
const fs = require("fs");
const path = require("path");
const { createRequire } = require("module");
const solc = createRequire(path.join(process.cwd(), "package.json"))("solc");

const NAME = "MianjiaoAnchors";
const settings = {
  evmVersion: "paris",
  optimizer: { enabled: true, runs: 200 },
  metadata: { appendCBOR: false, bytecodeHash: "none" },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
};
const source = fs.readFileSync(process.argv[2], "utf8");
const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources: { [`${NAME}.sol`]: { content: source } },
      settings,
    }),
  ),
);
const told = output.errors || [];
if (told.length > 0) {
  process.stderr.write(told.map((one) => one.formattedMessage).join("\n"));
  process.exit(1);
}
const made = output.contracts[`${NAME}.sol`][NAME];
delete settings.outputSelection;
process.stdout.write(
  JSON.stringify(
    {
      contract: NAME,
      compiler: solc.version(),
      settings,
      abi: made.abi,
      bytecode: made.evm.bytecode.object,
      deployed_bytecode: made.evm.deployedBytecode.object,
    },
    null,
    1,
  ) + "\n",
);
