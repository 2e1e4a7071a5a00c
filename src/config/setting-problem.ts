/**
 * A setting turned out to be unusable when it was used: the command that it names failed, for example.
 * `message` is a problem as loading the settings reports it, with the name of the setting.
 */
export class SettingProblem extends Error {
  override readonly name = 'SettingProblem';
}
