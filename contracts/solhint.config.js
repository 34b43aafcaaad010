// Each rule that differs from the recommended set says why.
module.exports = {
  extends: 'solhint:recommended',
  rules: {
    // Exactly the pinned compiler, in every file.
    'compiler-version': ['error', '0.8.37'],
    'func-visibility': ['warn', { ignoreConstructors: true }],
    // Complexity and length gates; the size of a contract is in CONTRIBUTING.md.
    'code-complexity': ['warn', 9],
    'function-max-lines': ['warn', 60],
    'max-line-length': ['error', 100],
    'max-states-count': ['warn', 10],
    'no-unused-private-funcs': 'warn',
    'func-param-name-mixedcase': 'warn',
    // Getters keep the interface's names (`unbondingPeriod`).
    'immutable-vars-naming': ['warn', { immutablesAsConstants: false }],
    // Documents live on the interface, in prose that names the parameters; authorship is git's.
    'use-natspec': 'off',
    // Savings of a few gas that make the code harder to read, or the optimizer's work.
    'gas-strict-inequalities': 'off',
    'gas-increment-by-one': 'off',
    // Indexed is what an index filters by, not every number.
    'gas-indexed-events': 'off',
    // The order of the signed struct is fixed by its EIP-712 type; it is never stored.
    'gas-struct-packing': 'off',
    // The last constructor of the chain only passes arguments on.
    'no-empty-blocks': 'off',
    // EIP-712 type strings.
    'gas-small-strings': 'off',
    // npm packages are found by forge's remapping.
    'import-path-check': 'off',
  },
};
