"""The options that messages name: the commands that print the message, and the test that follows the recommendation.

A new message that recommends an option needs a row, and so a test. tests/project/test_remedies.py checks the rows.
"""

_HERE = "tests/project/test_followed_remedies.py"
_RECIPE = "tests/stages/test_train_model_recipe.py"
_RETRAINING = "tests/stages/test_retraining.py"
_OPTIONS_OF_FILES = "tests/cli/test_config_file.py"
_READERS = "train, retrain, data preview, data report, data audit, data correct, versions inspect"
_TABLES = f"{_READERS}, check"
_TRAINERS = "train, retrain"
_WEIGHERS = "train, retrain, data preview, data report, data audit, data correct"
_EXPORT_AGAIN = ("train", f"{_HERE}::test_a_version_is_exported_again")
_DIVERGED = ("train, retrain", f"{_HERE}::test_smaller_steps_for_a_training_that_diverged")
_ADVICE = f"{_HERE}::test_advice_of_an_audit_is_accepted_by_training"
_AUDIT = ("data audit", "tests/stages/test_initializing_audit.py::test_a_pretrained_encoder_reads_the_texts")
_PAGE = ("versions inspect", f"{_HERE}::test_a_page_with_the_texts_of_a_data_set")
_AN_EARLIER_VERSION = (
    "tests/report/test_version_config.py::test_a_version_of_earlier_software_prints_a_file_that_training_reads"
)
_EMBEDDED = "tests/training/encoders/test_encoders.py::test_embedded_encoder_is_exported_once"
_LABELLING = "tests/monitoring/test_labelling.py"
_EXPLAIN = "tests/explain/test_command.py::test_a_table_becomes_jsonl"
_IMPORT = ("import", "tests/importing/test_import.py::test_the_command_with_labelled_texts")
_EXPORT = "tests/exporting/test_export.py"
_UNSURE = "tests/evaluation/test_unsure_version.py"
_TUNE = "tests/tuning/test_tune_command.py"
_TUNED = ("train", f"{_TUNE}::test_the_saved_options_train_the_best_trial")
_STUDY = ("tune", f"{_TUNE}::test_a_study_that_does_not_fit_leads_to_another")
_OTHER = ("", f"{_HERE}::test_options_of_other_programs_exist")
_SHARDS = "tests/sharding/test_sharded_scoring.py"
_SHARDS_COLUMNS = ("score", f"{_SHARDS}::test_every_row_is_scored_once_and_in_order")
_SHARDS_ERRORS = ("score", f"{_SHARDS}::test_a_bad_row_stops_the_run_on_demand")
_SHARDS_OPTIONS = ("score", f"{_SHARDS}::test_options_that_do_not_fit_are_one_line")
_SHARDS_FINISH = ("score", f"{_SHARDS}::test_a_pod_for_each_index_writes_the_same_bytes")
_SHARDS_FOLDER = ("score", f"{_SHARDS}::test_a_folder_refuses_other_options")
_SHARDS_INPUT = ("score", f"{_SHARDS}::test_inputs_that_do_not_fit_are_one_line")

# Module -> option -> commands that print the message or that it names, test. Without a command it is another program's.
RECOMMENDED: dict[str, dict[str, tuple[str, str]]] = {
    "monitoring.py": {
        "--audited": ("check", "tests/stages/test_monitoring.py::test_labels_without_audited_are_said_to_test_nothing"),
        "--latest": ("check", f"{_HERE}::test_options_of_a_check_that_need_each_other"),
    },
    "serving/sagemaker/training_job.py": {"--target": _OTHER},
    "serving/source/s3.py": {"--build-arg": _OTHER},
    "serving/server/preflight.py": {
        "--dataset-path": ("train", f"{_HERE}::test_a_server_without_a_model_names_the_training"),
        "--model-dir": ("train", f"{_HERE}::test_a_server_without_a_model_names_the_training"),
    },
    "textclf/audit/command.py": {"--output": ("data audit", f"{_HERE}::test_the_commands_of_an_audit")},
    "textclf/audit/review_file.py": {"--output": ("data correct", f"{_HERE}::test_the_commands_of_an_audit")},
    "textclf/bad_rows.py": {"--skip-bad": (f"{_TABLES}, score", f"{_HERE}::test_reading_follows")},
    "textclf/monitoring/samples.py": {"--calibration": _IMPORT},
    "textclf/importing/command.py": {"--calibration": _IMPORT},
    "textclf/importing/importer.py": {"--calibration": _IMPORT, "--precision": _IMPORT},
    "textclf/cli/config_file.py": {
        "--config": (_TRAINERS, f"{_OPTIONS_OF_FILES}::test_every_option_survives_printing_and_reading"),
        "--print-config": (_TRAINERS, f"{_OPTIONS_OF_FILES}::test_the_console_script_reads_the_same_file"),
    },
    "textclf/cli/hosts.py": {
        "--hosts": ("train", "tests/cli/test_hosts.py::test_the_option_or_tf_config"),
        "--host-rank": ("train", "tests/cli/test_hosts.py::test_clusters"),
    },
    "textclf/cli/live_prompt.py": {"--save-dir": ("live", f"{_HERE}::test_live_answers_go_to_another_folder")},
    "textclf/cli/options.py": {"--encoder": ("retrain", f"{_HERE}::test_an_encoder_for_a_preprocessing")},
    "textclf/data/cleaning.py": {"--near-duplicates": (_READERS, f"{_HERE}::test_near_duplicates_without_the_package")},
    "textclf/data/dataset_report.py": {
        "--near-duplicates": ("data report, train", f"{_HERE}::test_near_duplicates_are_left_out")
    },
    "textclf/data/dataset_summary.py": {
        "--near-duplicates": (_TRAINERS, f"{_HERE}::test_near_duplicates_are_left_out")
    },
    "textclf/data/labelling/queue_files.py": {
        "--label-column": ("labels import", f"{_LABELLING}::test_columns_of_another_name"),
        "--output": ("sample, labels export", f"{_LABELLING}::test_sample_refuses_what_would_lose_work"),
        "--text-column": ("labels import", f"{_LABELLING}::test_columns_of_another_name"),
    },
    "textclf/data/prediction_log/database_url.py": {
        "--latest": ("check", f"{_HERE}::test_a_check_without_a_log_reads_a_file")
    },
    "textclf/data/readers.py": {"--weight-column": (_WEIGHERS, f"{_HERE}::test_a_column_of_weights")},
    "textclf/data/source_path.py": {"--url": ("train, data download", f"{_HERE}::test_a_url_that_is_downloaded")},
    "textclf/data/splits.py": {
        "--no-test": (
            "train, data preview, data report, data audit, data correct",
            "tests/data/test_dataset_summary.py::test_a_test_part_that_is_the_training_part",
        ),
        "--no-validation-part": (
            _READERS,
            "tests/data/test_validation_part.py::test_too_few_validation_texts_lead_to_the_option",
        ),
        "--rename-label": (_READERS, f"{_HERE}::test_reading_follows"),
    },
    "textclf/data/table_rows.py": {
        "--label-column": (_TABLES, f"{_HERE}::test_a_row_with_another_column"),
        "--text-column": (_TABLES, f"{_HERE}::test_a_row_with_another_column"),
        "--weight-column": (_WEIGHERS, f"{_HERE}::test_a_column_of_weights"),
    },
    "textclf/data/tables/delimited.py": {"--encoding": (f"{_TABLES}, score", f"{_HERE}::test_reading_follows")},
    "textclf/data/tables/encoding.py": {
        "--encoding": (f"{_TABLES}, score, batch", f"{_HERE}::test_files_of_a_batch_in_another_encoding")
    },
    "textclf/data/tables/header.py": {
        "--label-column": (_TABLES, f"{_HERE}::test_one_of_several_columns"),
        "--text-column": (f"{_TABLES}, score", f"{_HERE}::test_one_of_several_columns"),
    },
    "textclf/data/tables/source.py": {
        "--encoding": (f"{_TABLES}, score", f"{_HERE}::test_a_wrong_encoding_leads_to_another")
    },
    "textclf/errors.py": {
        "--dataset-path": _EXPORT_AGAIN,
        "--export-again": _EXPORT_AGAIN,
        "--model-dir": _EXPORT_AGAIN,
        "--text-column": (f"{_TABLES}, score", f"{_HERE}::test_reading_follows"),
    },
    "textclf/evaluation/cost_table.py": {
        "--costs": (
            f"{_TRAINERS}, versions unsure",
            "tests/evaluation/test_cost_table.py::test_a_wrong_table_is_named",
        )
    },
    "textclf/evaluation/unsure_thresholds.py": dict.fromkeys(
        ("--costs", "--target-precision"),
        ("versions unsure", f"{_UNSURE}::test_the_command_uses_the_reference_or_a_data_set"),
    ),
    "textclf/evaluation/unsure_version.py": {
        "--dataset-path": ("versions unsure", f"{_UNSURE}::test_texts_that_the_model_was_not_fitted_to")
    },
    "textclf/explain/command.py": {
        "--text": (
            "explain",
            "tests/explain/test_command.py::test_a_text_is_shown_without_colours_if_there_is_no_terminal",
        ),
        **dict.fromkeys(
            ("--input", "--output", "--html", "--summary"), ("explain", f"{_EXPLAIN}_a_page_and_a_summary")
        ),
    },
    "textclf/exporting/command.py": {"--output": ("export", f"{_EXPORT}::test_the_command")},
    "textclf/exporting/mlflow_registry.py": dict.fromkeys(
        ("--alias", "--register", "--to"),
        ("export", "tests/exporting/test_mlflow_model.py::test_a_version_is_registered_once_and_the_alias_moves"),
    ),
    "textclf/exporting/hugging_face.py": {"--to": ("export", f"{_EXPORT}::test_mean_pooling_leads_to_onnx")},
    "textclf/labels.py": {"--rename-label": (f"{_READERS}, score", f"{_HERE}::test_labels_of_the_test_part")},
    "textclf/monitoring/labelling_commands.py": dict.fromkeys(
        ("--audit", "--informative", "--output"), ("sample", f"{_LABELLING}::test_sample_refuses_what_would_lose_work")
    ),
    "textclf/monitoring/options.py": {
        "--old-dataset-path": ("check, watch", f"{_HERE}::test_options_of_a_check_that_need_each_other")
    },
    "textclf/monitoring/retrain_trigger.py": {
        "--model-path": ("check, watch", f"{_HERE}::test_options_of_a_check_that_need_each_other")
    },
    "textclf/report/audit_report.py": {
        "--class-weights": ("train", _ADVICE),
        "--max-length": ("train", _ADVICE),
        "--near-duplicates": ("train", _ADVICE),
        "--rename-label": ("train", _ADVICE),
        "--truncation": ("train", _ADVICE),
    },
    "textclf/report/drift_summary.py": dict.fromkeys(
        ("--audit", "--output"), ("sample", f"{_LABELLING}::test_the_advice_of_the_drift_report_is_followed")
    ),
    "textclf/report/evaluation_html.py": dict.fromkeys(
        ("--dataset-path", "--html", "--model-path"),
        ("versions inspect", f"{_HERE}::test_a_page_with_the_texts_of_a_data_set"),
    ),
    "textclf/report/shortcomings.py": {"--class-weights": (_TRAINERS, _ADVICE)},
    "textclf/report/training_lines.py": dict.fromkeys(
        ("--epochs", "--head-init", "--pooling"),
        (_TRAINERS, f"{_RECIPE}::test_the_advice_of_a_model_below_its_floor_is_its_probe"),
    ),
    "textclf/report/version_config.py": {"--config": ("train", _AN_EARLIER_VERSION)},
    "textclf/retraining/champion_data.py": {"--add-classes": ("retrain", "tests/stages/test_adding_classes.py::added")},
    "textclf/retraining/combining_report.py": {
        "--add-classes": ("retrain", "tests/stages/test_adding_classes.py::added"),
        "--min-class-texts": (
            "retrain",
            "tests/retraining/test_new_classes.py::test_a_class_that_cleaning_makes_too_small_is_not_added",
        ),
        "--rename-label": (
            "retrain",
            f"{_RETRAINING}::test_new_texts_may_have_other_names_for_the_classes",
        ),
    },
    "textclf/retraining/earlier_challengers.py": {
        "--again": ("retrain", f"{_RETRAINING}::test_what_was_held_is_compared_again_and_again_trains")
    },
    "textclf/retraining/locks.py": {
        "--combined-dataset-path": ("retrain", f"{_HERE}::test_retraining_in_another_folder")
    },
    "textclf/retraining/new_classes.py": {
        "--new-share": ("retrain", "tests/retraining/test_new_classes.py::test_others_may_not_crowd_a_new_class_out"),
        "--old-dataset-path": ("retrain", f"{_HERE}::test_old_data_that_has_all_classes"),
    },
    "textclf/ray_cluster.py": {
        "--engine": ("score", "tests/sharding/test_shards_on_ray.py::test_actors_write_the_same_bytes"),
        "--processes": ("score", "tests/sharding/test_shards_on_ray.py::test_a_pool_on_all_cpus_is_refused"),
        "--ray-address": ("score", "tests/sharding/test_shards_on_ray.py::test_actors_write_the_same_bytes"),
    },
    "textclf/retraining/preflight.py": {
        "--again": ("retrain", f"{_HERE}::test_again_is_recommended_only_if_it_helps"),
        "--old-dataset-path": ("retrain", f"{_HERE}::test_the_path_of_the_old_data"),
    },
    "textclf/runtime/engine.py": {"--preload": _OTHER},
    "textclf/runtime/file_scoring.py": {"--text-column": ("score", f"{_HERE}::test_scoring_follows")},
    "textclf/sharding/command.py": {
        "--engine": _SHARDS_OPTIONS,
        "--shards": _SHARDS_OPTIONS,
    },
    "textclf/sharding/finishing.py": {"--finish": _SHARDS_FINISH},
    "textclf/sharding/inputs.py": {"--input": _SHARDS_INPUT},
    "textclf/sharding/ledger.py": {"--output": _SHARDS_FOLDER},
    "textclf/sharding/parquet_input.py": {"--text-column": _SHARDS_OPTIONS},
    "textclf/sharding/reading.py": {"--id-column": _SHARDS_COLUMNS, "--keep": _SHARDS_COLUMNS},
    "textclf/sharding/shard_scoring.py": {"--on-error": _SHARDS_ERRORS},
    "textclf/sharding/writers.py": {"--keep": _SHARDS_COLUMNS},
    "textclf/store/model_store.py": {
        "--model-dir": (
            "versions promote, versions rollback, versions history, versions lift-hold",
            f"{_HERE}::test_a_version_becomes_current",
        )
    },
    "textclf/store/promotion.py": {"--to": ("versions rollback", f"{_HERE}::test_a_rollback_without_a_known_version")},
    "textclf/training/encoders/resolve.py": {
        "--encoder": (
            "train, retrain, data report, data audit, model preview",
            "tests/training/encoders/test_encoders.py::test_embedded_encoder_is_exported_once",
        ),
        "--force-reinstall": _OTHER,
        "--no-deps": _OTHER,
        "--require-hashes": _OTHER,
    },
    "textclf/training/export/saved_model_export.py": {
        "--windows": ("train", "tests/training/export/test_windows_export.py::test_windows_that_need_a_training"),
    },
    "textclf/training/export/version_writer.py": {
        "--windows": ("train", "tests/training/export/test_windows_export.py::test_windows_that_need_a_training"),
    },
    "textclf/training/export/embedder.py": {
        "--encoder": (
            "data audit",
            "tests/stages/test_initializing_audit.py::test_a_pretrained_encoder_reads_the_texts",
        ),
        "--no-embeddings": (
            "data audit",
            "tests/stages/test_initializing_audit.py::test_a_pretrained_encoder_reads_the_texts",
        ),
    },
    "textclf/training/fitting/masked_lm.py": {"--mlm-lr": _DIVERGED, "--precision": _DIVERGED, "--warmup": _DIVERGED},
    "textclf/training/fitting/training_loop.py": {
        "--init-lr": _DIVERGED,
        "--precision": _DIVERGED,
        "--warmup": _DIVERGED,
    },
    "textclf/tuning/command.py": {
        "--config": _TUNED,
        "--engine": ("tune", "tests/tuning/test_tune_on_ray.py::test_a_pool_on_all_cpus_is_refused"),
        "--timeout": _STUDY,
    },
    "textclf/tuning/folds.py": {"--folds": _STUDY},
    "textclf/tuning/ray_engine.py": {
        "--threads": (
            "tune",
            "tests/tuning/test_tune_on_ray.py::test_a_search_on_a_cluster_survives_the_death_of_a_process",
        ),
    },
    "textclf/tuning/results.py": {"--config": _TUNED},
    "textclf/tuning/storage.py": {"--storage": _STUDY, "--study-dir": _STUDY},
    "textclf/tuning/study.py": {"--study-dir": _STUDY},
}
# Module -> options that its messages name without recommending them: they were given, or do not matter.
NAMED: dict[str, tuple[str, ...]] = {
    "monitoring.py": ("--since", "--windows"),
    "textclf/__main__.py": ("--model-path",),
    "textclf/cli/commands.py": ("--help",),
    "textclf/cli/options.py": ("--preprocess",),
    "textclf/data/dataset_layout.py": ("--no-test", "--no-validation-part"),
    "textclf/data/part_labels.py": ("--rename-label",),
    "textclf/monitoring/options.py": ("--retrain", "--retrain-args"),
    "textclf/report/version_config.py": ("--data-dir", "--model-dir", "--runs-dir", "--url"),
    "textclf/retraining/combining_report.py": ("--new-share",),
    "textclf/sharding/command.py": ("--class-names", "--processes", "--ray-address", "--shard-index"),
    "textclf/sharding/options.py": ("--id-column", "--shards"),
    "textclf/training/encoders/resolve.py": ("--preprocess",),
}
# Options of pip, gunicorn and docker.
OTHER_PROGRAMS = {"--build-arg", "--force-reinstall", "--no-deps", "--preload", "--require-hashes", "--target"}
