// Answers `--version` and `--standard-json` (input on stdin), as a native solc does.
'use strict';
const fs = require('fs');
const path = require('path');

const wantsVersion = process.argv.includes('--version');
const wantsJson = process.argv.includes('--standard-json');
if (!wantsVersion && !wantsJson) {
  process.stderr.write('solc: only --version and --standard-json are served\n');
  process.exit(1);
}
const modules = path.join(__dirname, '..', 'node_modules');
const solc = require(path.join(modules, 'solc'));
if (wantsVersion) {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else {
  // A relative import is looked up below the project root only, then in node_modules.
  const root = process.cwd();
  const read = (name) => {
    for (const file of [path.resolve(root, name), path.join(modules, name)]) {
      if (fs.existsSync(file)) return { contents: fs.readFileSync(file, 'utf8') };
    }
    return { error: `not found: ${name}` };
  };
  const output = solc.compile(fs.readFileSync(0, 'utf8'), { import: read });
  process.stdout.write(output);
}
