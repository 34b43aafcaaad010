// The tests' rules: those of the sources, less what tests do on purpose.
const base = require('../solhint.config.js');

module.exports = {
  ...base,
  rules: {
    ...base.rules,
    // test_<verb>_<when>_<then>, and the functions of EIPs.
    'func-name-mixedcase': 'off',
    // `vm` is a constant, `Vm` forge's usual name of the interface.
    'const-name-snakecase': 'off',
    'interface-starts-with-i': 'off',
    // Small helpers of one kind share a file.
    'one-contract-per-file': 'off',
    // Hostile callers and byte surgery.
    'avoid-low-level-calls': 'off',
    'no-inline-assembly': 'off',
    'max-states-count': ['warn', 40],
    // What proofs take is passed on in memory.
    'gas-calldata-parameters': 'off',
  },
};
